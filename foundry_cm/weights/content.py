"""Whether a file that an origin sent can be what its name says, before its hash is locked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from foundry_cm.weights.lock import WeightsError

# Formats that run code of their author while they load, as all that builds on pickle does.
PICKLES = (
    ".bin",
    ".ckpt",
    ".cloudpickle",
    ".dill",
    ".h5",
    ".hdf5",
    ".joblib",
    ".keras",
    ".mar",
    ".p",
    ".pickle",
    ".pk",
    ".pkl",
    ".pt",
    ".pth",
    ".pth.tar",
    ".sav",
)

_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"
# From protocol 2 on, which is older than every library of models.
_PICKLE = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
# What a file of a suffix begins with, where its format has such a mark; TensorFlow Lite's comes later.
_MARKS: dict[str, tuple[bytes, ...]] = {
    ".gguf": (b"GGUF",),
    ".h5": (_HDF5,),
    ".hdf5": (_HDF5,),
    ".json": tuple(bytes((letter,)) for letter in b'{["-0123456789tfn'),
    ".keras": (_ZIP, _HDF5),
    ".npy": (b"\x93NUMPY",),
    ".npz": (_ZIP,),
    ".parquet": (b"PAR1",),
    ".pt": (_ZIP, *_PICKLE),
    ".pth": (_ZIP, *_PICKLE),
    ".zip": (_ZIP,),
}


def runs_code(name: str, path: Path | None = None) -> bool:
    """Whether loading a file can run code of its author: by its name, or by what it holds."""
    if name.lower().endswith(PICKLES):
        return True
    if path is None or not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(2) in _PICKLE:
            return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(member.endswith(".pkl") for member in archive.namelist())


def check_content(name: str, path: Path, origin: str) -> None:
    """Raise WeightsError for a file that cannot be weights, or not those of its suffix."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if problem := _problem(name.lower(), head, size):
        raise WeightsError(
            f"{name} from {origin} {problem}",
            "open the address in a browser to see what is there, and correct the origin",
        )


def _problem(name: str, head: bytes, size: int) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is a pointer of Git LFS, not the file"
    if text[:15].lower().startswith((b"<!doctype", b"<html")) and not name.endswith(
        (".html", ".htm")
    ):
        return "is a web page, not the file"
    suffix = Path(name).suffix
    if suffix == ".safetensors":
        # The length of a header of JSON, then the header.
        length = int.from_bytes(head[:8], "little")
        fits = head[8:9] == b"{" and length + 8 <= size
        return None if fits else "does not begin as a .safetensors file does"
    if suffix == ".tflite":
        return None if head[4:8] == b"TFL3" else "does not begin as a .tflite file does"
    marks = _MARKS.get(suffix)
    if marks and not (text if suffix == ".json" else head).startswith(marks):
        return f"does not begin as a {suffix} file does"
    return None
