"""Turns texts into vectors with onnxruntime, as the files of a sentence-transformers model say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
# The states of the tokens (texts, tokens, numbers), and which of them are tokens of the text.
Pool = Callable[[Any, Any], Any]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = ("last_hidden_state", "token_embeddings")
# Other modules of such models, which change no vector of length 1.
WITHOUT_EFFECT = ("Dropout", "Normalize")
MORE_MODELS = "the engine sentence-transformers runs more models"


class UnsupportedModel(Exception):
    """A model that this engine cannot run, and why."""


class Encoder:
    """A model whose pooling, longest text, prompts and tokens are read from its own files."""

    def __init__(self, folder: Path, device: str = "cpu", threads: int = 0) -> None:
        transformer, self._pool = _modules(folder)
        self.max_seq_length = _longest(transformer)
        self.prompts: dict[str, str] = (
            _json(folder / "config_sentence_transformers.json").get("prompts") or {}
        )
        self._tokenizer = _tokenizer(transformer, self.max_seq_length)
        self._session = _session(_onnx_file(folder), device, threads)
        self._inputs = _known(self._session.get_inputs(), INPUTS, "wants")
        (self._output, *_) = _known(self._session.get_outputs(), OUTPUTS, "gives")

    def encode(self, texts: list[str], batch_size: int) -> Vectors:
        """One vector of length 1 for each text, in their order."""
        # Texts of one length go through the model together, so that little is padded.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        batches = (order[first : first + batch_size] for first in range(0, len(order), batch_size))
        vectors = np.concatenate(
            [self._encode([texts[place] for place in batch]) for batch in batches]
        )
        return vectors[np.argsort(order)]

    def truncates(self, text: str) -> bool:
        """Whether the model reads only the beginning of a text."""
        # A token has at least one character, so short texts need no count of their tokens.
        if len(text) < self.max_seq_length - 1:
            return False
        return bool(self._tokenizer.encode(text).overflowing)

    def _encode(self, texts: list[str]) -> Vectors:
        tokens = self._tokenizer.encode_batch(texts)
        mask = np.array([each.attention_mask for each in tokens])
        columns = {
            "input_ids": np.array([each.ids for each in tokens]),
            "attention_mask": mask,
            "token_type_ids": np.array([each.type_ids for each in tokens]),
        }
        (states,) = self._session.run(
            [self._output], {name: columns[name] for name in self._inputs}
        )
        vectors = self._pool(states.astype(np.float32), mask)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _cls(states: Any, mask: Any) -> Any:
    return states[np.arange(len(mask)), mask.argmax(1)]


def _lasttoken(states: Any, mask: Any) -> Any:
    return states[np.arange(len(mask)), mask.shape[1] - 1 - mask[:, ::-1].argmax(1)]


def _max(states: Any, mask: Any) -> Any:
    return np.where(mask[..., None] > 0, states, -np.inf).max(1)


def _mean(states: Any, mask: Any) -> Any:
    weights = mask[..., None].astype(np.float32)
    return (states * weights).sum(1) / np.maximum(weights.sum(1), 1e-9)


POOLS: dict[str, Pool] = {"cls": _cls, "lasttoken": _lasttoken, "max": _max, "mean": _mean}


def _modules(folder: Path) -> tuple[Path, Pool]:
    """The folder of the transformer, and how the states of tokens become one vector."""
    modules = _json(folder / "modules.json")
    if not modules:
        raise UnsupportedModel("it has no modules.json, which says how its vectors are made")
    found: dict[str, Path] = {}
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", *WITHOUT_EFFECT):
            raise UnsupportedModel(f"modules.json asks for a module {kind}; {MORE_MODELS}")
        found[kind] = folder / module["path"]
    if "Transformer" not in found or "Pooling" not in found:
        raise UnsupportedModel("modules.json has no Transformer with a Pooling behind it")
    return found["Transformer"], _pooling(_json(found["Pooling"] / "config.json"))


def _pooling(config: dict[str, Any]) -> Pool:
    """The pooling of a configuration, which names it in one of two ways."""
    prefix = "pooling_mode_"
    flags = [key for key, value in config.items() if key.startswith(prefix) and value is True]
    named = config.get("pooling_mode") or [
        flag.removeprefix(prefix).removesuffix("_tokens").removesuffix("_token") for flag in flags
    ]
    modes = [named] if isinstance(named, str) else named or ["mean"]
    if len(modes) > 1 or modes[0] not in POOLS:
        raise UnsupportedModel(f"its pooling is {' + '.join(modes)}; {MORE_MODELS}")
    if config.get("include_prompt") is False:
        raise UnsupportedModel(f"its pooling leaves out the prompt; {MORE_MODELS}")
    return POOLS[modes[0]]


def _longest(transformer: Path) -> int:
    """How many tokens of a text the model reads."""
    for file in sorted(transformer.glob("sentence_*_config.json")):
        if longest := _json(file).get("max_seq_length"):
            return int(longest)
    limits = [
        _json(transformer / "tokenizer_config.json").get("model_max_length"),
        _json(transformer / "config.json").get("max_position_embeddings"),
    ]
    longest = min((limit for limit in limits if limit and limit > 0), default=None)
    if longest is None:
        raise UnsupportedModel("its files do not say how many tokens it reads")
    return int(longest)


def _tokenizer(transformer: Path, longest: int) -> Tokenizer:
    file = transformer / "tokenizer.json"
    if not file.is_file():
        raise UnsupportedModel(f"it has no tokenizer.json; {MORE_MODELS}")
    tokenizer = Tokenizer.from_file(str(file))
    config = _json(transformer / "tokenizer_config.json")
    for settings in transformer.glob("sentence_*_config.json"):
        if _json(settings).get("do_lower_case"):
            tokenizer.normalizer = _lower_case(tokenizer.normalizer)
    pad = config.get("pad_token") or "[PAD]"
    token = pad["content"] if isinstance(pad, dict) else pad
    tokenizer.enable_truncation(longest, direction=config.get("truncation_side", "right"))
    tokenizer.enable_padding(
        direction=config.get("padding_side", "right"),
        pad_id=tokenizer.token_to_id(token) or 0,
        pad_token=token,
    )
    return tokenizer


def _lower_case(normalizer: Any) -> Any:
    from tokenizers.normalizers import Lowercase, Sequence

    return Sequence([Lowercase(), *([normalizer] if normalizer else [])])


def _onnx_file(folder: Path) -> Path:
    """The only .onnx file of a folder, or the one with the usual name."""
    files = sorted(folder.rglob("*.onnx"))
    usual = [file for file in files if file.name == "model.onnx"]
    if len(files) == 1 or len(usual) == 1:
        return (usual or files)[0]
    if not files:
        raise UnsupportedModel("it has no .onnx file; make one with `cm weights export`")
    names = ", ".join(file.relative_to(folder).as_posix() for file in files)
    raise UnsupportedModel(f"it has several .onnx files; name one in `files`: {names}")


def _session(file: Path, device: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    wanted = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
    session = onnxruntime.InferenceSession(str(file), options, providers=[wanted])
    # onnxruntime continues on the CPU if it cannot load the libraries of CUDA.
    if wanted not in session.get_providers():
        raise UnsupportedModel(
            f"onnxruntime {onnxruntime.__version__} cannot use the GPU: its driver is too old, "
            "or the libraries of CUDA are missing; it says more above"
        )
    return session


def _known(tensors: Any, names: tuple[str, ...], does: str) -> list[str]:
    """The names of inputs, all of which must be known, or of outputs, one of which must be."""
    given = [tensor.name for tensor in tensors]
    known = [name for name in names if name in given]
    if not known or (names is INPUTS and len(known) < len(given)):
        raise UnsupportedModel(f"its .onnx file {does} {', '.join(given)}; {MORE_MODELS}")
    return known


def _json(file: Path) -> Any:
    """The content of a file; empty if there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
