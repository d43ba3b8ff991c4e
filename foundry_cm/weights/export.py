"""`cm weights export`: a model in ONNX, made of one in safetensors, that gives the same vectors."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.project import Project
from foundry_cm.weights.encoder import INPUTS, OUTPUTS, Encoder, UnsupportedModel
from foundry_cm.weights.local import FolderOrigin
from foundry_cm.weights.origins import ONNX, ONNX_DATA, SAFETENSORS, Resolved, resolve
from foundry_cm.weights.pull import Progress, receive_all
from foundry_cm.weights.request import LocalFolder, Request

FILE = "onnx/model.onnx"
# Both compute with numbers of 32 bits, of which some 1e-7 is lost in another order.
TOLERANCE = 1e-6
# Above this many bytes of tensors, they need a file of their own: a message of ONNX holds 2 GB.
MOST_BYTES = 1_800_000_000
TEXTS = [
    "centrifugal pump",
    "",
    "x",
    "\u00dcberdruckventil f\u00fcr Hei\u00dfdampf",
    "\u30dd\u30f3\u30d7 \U0001f6b0",
    "a machine that moves water from one place to another " * 200,
]


@dataclass(frozen=True)
class Exported:
    """The folder that has the model in ONNX now, and how far its vectors are from those of PyTorch."""

    folder: Path
    difference: float
    # Whether the settings of the module name this folder already.
    is_origin: bool


def export(project: Project, to: Path | None, progress: Progress) -> Exported:
    """Add a model in ONNX to the folder that is the origin, or make the folder `to` of another origin.

    Nothing is left there unless its vectors are those of PyTorch. Raises CmError.
    """
    request = Request.read(project)
    with request.told_as_cm_error(), tempfile.TemporaryDirectory() as name:
        target = _target(request, to)
        staging = Path(name) / "model"
        receive_all(_torch_model(request), staging, progress)
        try:
            difference = convert(staging)
        except UnsupportedModel as error:
            raise _refused(request, str(error)) from None
        if not difference <= TOLERANCE:
            raise _refused(request, f"its vectors differ by {difference:.1g} from those of PyTorch")
        _place(staging / "onnx" if to is None else staging, target)
    return Exported(target, difference, to is None)


def _target(request: Request, to: Path | None) -> Path:
    """Where the files go; raises CmError where something is there."""
    if to is None:
        if not isinstance(request.wanted, LocalFolder):
            raise CmError(
                "The origin of the weights is not a folder, so the exported model needs one",
                where=str(request.place),
                fix="Give a folder that does not exist yet: cm weights export --to ../models/NAME",
                exit_code=USAGE,
            )
        origin = FolderOrigin(request.wanted.folder, request.folder)
        there = [path for path in origin.listed() if path.endswith(ONNX)]
        if there:
            raise CmError(
                f"{request.wanted.folder} has a model in ONNX already: {there[0]}",
                fix="Pull it: cm weights pull",
                exit_code=USAGE,
            )
        return origin.folder
    if to.exists():
        raise CmError(
            f"{to} already exists",
            fix="Give a folder that does not exist yet, or remove that one.",
            exit_code=USAGE,
        )
    return to.resolve()


def _torch_model(request: Request) -> Resolved:
    """The files of the model in safetensors; raises CmError where the settings name none."""
    files = tuple(
        name for name in request.wanted.files if not name.endswith((ONNX, *ONNX_DATA[1:]))
    )
    wanted = msgspec.structs.replace(request.wanted, engine="sentence-transformers", files=files)
    found = resolve(wanted, request.place)
    if not any(file.path.endswith(SAFETENSORS) for file in found.files):
        raise request.place.below("files").error(
            "files names no safetensors, of which a model in ONNX is made",
            'Add them, such as "model.safetensors", until the export is done.',
            "NoSafetensors",
        )
    return found


def convert(folder: Path) -> float:
    """Write the model in ONNX into its folder; gives how far its vectors are from those of PyTorch."""
    # It tells each of its steps, and of libraries for images that no text needs.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
            _write(model, folder / FILE)
        except Exception as error:  # noqa: BLE001  (PyTorch raises what it likes)
            said = " ".join(str(error).split())[:500]
            raise UnsupportedModel(f"PyTorch gives no ONNX of it: {said}") from None
        theirs = model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    ours = Encoder(folder).encode(TEXTS, batch_size=3)
    return float(np.abs(ours - theirs).max())


def _write(model: Any, file: Path) -> None:
    tokens = model.tokenizer(["one two three", "four"], padding=True, return_tensors="pt")
    inputs = {name: tokens[name] for name in INPUTS if name in tokens}
    free = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    size = sum(tensor.numel() * 4 for tensor in model[0].auto_model.parameters())
    file.parent.mkdir()
    torch.onnx.export(
        _States(model[0].auto_model.float().eval()),
        (),
        str(file),
        kwargs={"inputs": inputs},
        input_names=list(inputs),
        output_names=[OUTPUTS[0]],
        dynamic_shapes={"inputs": dict.fromkeys(inputs, free)},
        dynamo=True,
        external_data=size > MOST_BYTES,
        verbose=False,
    )


class _States(torch.nn.Module):  # type: ignore[misc]  # torch is not looked at
    """The states of the tokens alone, of all that a transformer gives."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, inputs: dict[str, Any]) -> Any:
        return self.transformer(**inputs).last_hidden_state


def _place(made: Path, target: Path) -> None:
    """Move a folder to where it is wanted, whole or not at all."""
    goal = target / made.name if target.exists() else target
    part = goal.with_name(f".{goal.name}.partial")
    goal.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    shutil.move(made, part)
    part.rename(goal)


def _refused(request: Request, why: str) -> CmError:
    return CmError(
        f"This model cannot run as ONNX: {why}",
        where=str(request.place),
        fix='Copy a new module with the engine "sentence-transformers", which runs every model.',
        code="NoOnnx",
    )
