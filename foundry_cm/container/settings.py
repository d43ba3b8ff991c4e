"""The part of `[tool.foundry-cm]` in a module's pyproject.toml that images and publishing use."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_cm.container.image import MB
from foundry_cm.errors import USAGE, CmError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class ImageSettings:
    """`image`: its name; `budget`: most bytes allowed, or None; `host`: the enrollment's host."""

    image: str
    budget: int | None = None
    host: str = ""

    @classmethod
    def load(cls, folder: Path) -> ImageSettings:
        """Read the settings of the module in `folder`; one without any gets the defaults.

        Raises `CmError` with the file and the key when a value cannot be used.
        """
        path = folder / "pyproject.toml"
        table = _table(path) if path.is_file() else {}
        return cls(
            image=_text(path, table, "image") or _image_name(folder),
            budget=_budget(path, table),
            host=_text(path, table, "enrollment-host"),
        )


def _table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("foundry-cm", {})
    except tomllib.TOMLDecodeError as error:
        raise CmError(
            f"it is not TOML: {error}", where=str(path), code="Settings", exit_code=USAGE
        ) from error
    return dict(table)


def _text(path: Path, table: dict[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise _wrong(path, key, "a text in quotes")
    return value.strip()


def _budget(path: Path, table: dict[str, Any]) -> int | None:
    value = table.get("image-budget-mb")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise _wrong(path, "image-budget-mb", "a number of MB above 0, such as 800")
    return int(value * MB)


def _wrong(path: Path, key: str, wanted: str) -> CmError:
    return CmError(
        f"{key} in [tool.foundry-cm] is not usable",
        where=str(path),
        fix=f"Write {wanted}.",
        code="Settings",
        exit_code=USAGE,
    )


def _image_name(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "module"
