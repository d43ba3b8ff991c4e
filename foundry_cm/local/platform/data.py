"""What lies in `data/`, for a module with application permissions: a folder is a dataset or a media set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.platform.resources import Resource
from foundry_cm.module.resources import ALIAS, Kind

RESERVED = "ontology"
"""For objects of the Ontology."""

# Images, sound, video and documents, as Foundry's media sets take them.
# fmt: off
MEDIA_SUFFIXES = {
    ".bmp", ".dcm", ".gif", ".heic", ".jp2", ".jpeg", ".jpg", ".nitf", ".ntf", ".png", ".tif", ".tiff", ".webp",
    ".flac", ".m4a", ".mp3", ".ogg", ".sph", ".wav",
    ".mkv", ".mov", ".mp4", ".webm",
    ".pdf",
}
# fmt: on


def data_resources(folder: Path, kinds: Mapping[str, str]) -> list[Resource]:
    """The folders in `data/` of a module, each as `kinds` says, or by what it holds.

    Media files and nothing else make a media set, anything else a dataset. Raises `CmError` for a
    folder whose name cannot be that of a resource, and for a line of `kinds` that means nothing.
    """
    names = [path.name for path in sorted(folder.glob("data/*/")) if path.name[0] not in "._"]
    names = [name for name in names if name != RESERVED]
    _check(folder, names, kinds)
    return [Resource(name, cast(Kind, kinds.get(name) or _kind_of(folder, name))) for name in names]


def _kind_of(folder: Path, name: str) -> Kind:
    suffixes = {path.suffix.lower() for path in Resource(name).files(folder)}
    return "media_set" if suffixes and suffixes <= MEDIA_SUFFIXES else "dataset"


def _check(folder: Path, names: list[str], kinds: Mapping[str, str]) -> None:
    for name in names:
        if not ALIAS.fullmatch(name):
            raise CmError(
                f'"{name}" cannot be the name of a dataset or media set',
                where=str(folder / "data" / name),
                fix="Rename the folder: use letters, digits, - and _. Folders that begin with a "
                "dot are skipped.",
                code="BadData",
                exit_code=USAGE,
            )
    for name, kind in kinds.items():
        if name == RESERVED:
            raise _bad_line(folder, f"data/{RESERVED}/ is reserved for objects of the Ontology")
        if name not in names:
            raise _bad_line(folder, f"There is no folder data/{name}/", near_miss(name, names))
        if kind not in get_args(Kind):
            what = f'data/{name}/ cannot be of kind "{kind}"'
            raise _bad_line(folder, what, near_miss(str(kind), get_args(Kind)))


def _bad_line(folder: Path, what: str, fix: str = "Take the line out.") -> CmError:
    where = f"{folder / 'pyproject.toml'}, [tool.foundry-cm.data]"
    return CmError(what, where=where, fix=fix, code="BadData", exit_code=USAGE)
