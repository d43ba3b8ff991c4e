"""The module in a folder: how it is started, and its settings in `pyproject.toml`."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError, near_miss

_KEYS = {
    "command": list,
    "concurrency": int,
    "data": dict,
    "enrollment-host": str,
    "image": str,
    "image-budget-mb": (int, float),
    "max-replicas": int,
    "min-replicas": int,
    "permissions": str,
    "max-megabytes": (int, float),
    "timeout-seconds": (int, float),
    "weights": dict,
}


@dataclass(frozen=True)
class Project:
    """A module's folder, with the table `[tool.foundry-cm]` of its `pyproject.toml`."""

    folder: Path
    options: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Project:
        """Read the settings of the module in a folder; a folder without any has the defaults.

        Raises `CmError` for a file that is not TOML and for an unknown or ill-typed setting.
        """
        folder = folder.resolve()
        file = folder / "pyproject.toml"
        if not folder.is_dir():
            raise CmError(f"There is no folder {folder}", exit_code=USAGE)
        if not file.is_file():
            return cls(folder, {})
        try:
            options = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
        except tomllib.TOMLDecodeError as error:
            raise CmError(
                f"pyproject.toml is not TOML: {error}", where=str(file), exit_code=USAGE
            ) from None
        options = options.get("foundry-cm", {})
        for key, value in options.items():
            if key not in _KEYS:
                raise _bad_setting(file, f'There is no setting "{key}"', near_miss(key, _KEYS))
            if not isinstance(value, _KEYS[key]):  # type: ignore[arg-type]
                raise _bad_setting(file, f"{key} = {value!r} has the wrong type", None)
        return cls(folder, options)

    def command(self, given: Sequence[str] = ()) -> list[str]:
        """The command that runs the module: as given, as set, or `python src/app.py`.

        Raises `CmError` where there is none to be found.
        """
        if given:
            return list(given)
        if "command" in self.options:
            return [str(word) for word in self.options["command"]]
        if (self.folder / "src" / "app.py").is_file():
            return [self._python(), "src/app.py"]
        raise CmError(
            "There is no module here: no src/app.py, and no command was given",
            where=str(self.folder),
            fix="Give the command that runs it after --, such as: cm serve -- python my_module.py",
            exit_code=USAGE,
        )

    @property
    def max_megabytes(self) -> float:
        """The size limit of one call, each way, in MB (10^6 bytes)."""
        return float(self.options.get("max-megabytes", 100))

    @property
    def timeout_seconds(self) -> float:
        """How long a caller waits for an answer, in seconds."""
        return float(self.options.get("timeout-seconds", 300))

    @property
    def image(self) -> str:
        """The name of its image, without a registry or a tag: as set, or the folder's name."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.folder.name.lower()).strip("-")
        return str(self.options.get("image") or slug or "module")

    @property
    def image_budget(self) -> int | None:
        """The most bytes that the image may have, uncompressed; None where no budget is set."""
        megabytes = self.options.get("image-budget-mb")
        return None if megabytes is None else int(megabytes * 1_000_000)

    @property
    def enrollment_host(self) -> str:
        """The host of the Foundry enrollment, such as acme.palantirfoundry.com, or nothing."""
        return str(self.options.get("enrollment-host", ""))

    @property
    def replicas(self) -> int:
        """How many replicas run at least; one where Foundry would scale to zero."""
        return max(1, int(self.options.get("min-replicas", 1)))

    @property
    def concurrency(self) -> int:
        """How many calls one replica runs at a time."""
        return max(1, int(self.options.get("concurrency", 1)))

    @property
    def application(self) -> bool:
        """Whether it has application permissions: a service user of its own on the platform."""
        return bool(self.options.get("permissions") == "application")

    @property
    def data(self) -> dict[str, str]:
        """Kinds of folders in `data/`, by name; only for those that are not known by what they hold."""
        return dict(self.options.get("data", {}))

    @property
    def watched(self) -> Path:
        """The folder whose changes reload the module."""
        source = self.folder / "src"
        return source if source.is_dir() else self.folder

    def _python(self) -> str:
        """The interpreter that has the SDK: this one, the module's `.venv`, or `python`."""
        if importlib.util.find_spec("compute_modules"):
            return sys.executable
        own = self.folder / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        return str(own) if own.exists() else "python"


def _bad_setting(file: Path, what: str, fix: str | None) -> CmError:
    return CmError(what, where=f"{file}, [tool.foundry-cm]", fix=fix, exit_code=USAGE)
