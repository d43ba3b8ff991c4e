"""The module in a folder: how it is started, and its settings in `pyproject.toml`."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.places import Place, read_file
from foundry_cm.module.records import Record, as_record

# The suffixes of files whose change matters wherever they are; of others, those in src/ count.
PYTHON, NODE = {".py"}, {".js", ".mjs", ".cjs", ".ts"}
CODE = PYTHON | NODE
# No limit is larger: infinity is none.
Amount = Annotated[float, Meta(gt=0, le=1e9)]


class CheckSettings(Record, frozen=True, kw_only=True):
    """The table `[tool.foundry-cm.check]`: what `cm check` looks for, and how strictly."""

    # "strict" admits the types of the field guide, "sdk" all that the SDK converts both ways.
    profile: Literal["strict", "sdk"] = "sdk"
    # Codes of checks that are switched off, such as CM204.
    ignore: tuple[str, ...] = ()
    # What `cm check --live` holds the module to.
    cold_start_seconds: Amount | None = None
    p50_ms: Amount | None = None
    stop_seconds: Amount = 10


class Settings(Record, frozen=True, kw_only=True):
    """The table `[tool.foundry-cm]`."""

    check: CheckSettings = field(default_factory=CheckSettings)

    # The names that applications know the functions by, such as com.acme.computemodules.Search.
    api_names: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    concurrency: Annotated[int, Meta(ge=1)] = 1
    data: dict[str, str] = field(default_factory=dict)
    enrollment_host: str = ""
    env: tuple[str, ...] = ()
    image: str = ""
    image_budget_mb: Amount | None = None
    max_megabytes: Amount = 100
    max_replicas: Annotated[int, Meta(ge=1)] = 1
    min_replicas: Annotated[int, Meta(ge=0)] = 1
    # The RIDs of data in the real Foundry, by the names of the inputs; read where --remote asks for it.
    remote: dict[str, str] = field(default_factory=dict)
    permissions: Literal["none", "application"] = "none"
    # Of the image; else its base image tells it.
    python: Annotated[str, Meta(pattern=r"^(3\.\d+)?$")] = ""
    # Whether the replicas share a cache and locks.
    scratch: bool = False
    timeout_seconds: Amount = 300
    # Read further where weights are wanted.
    weights: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A module's folder and its settings."""

    folder: Path
    settings: Settings

    @classmethod
    def read(cls, folder: Path) -> Project:
        """Read the settings of the module in a folder; a folder without any has the defaults.

        Raises `CmError` for a file that is not TOML and for an unknown or ill-typed setting.
        """
        folder = folder.resolve()
        place = Place(folder / "pyproject.toml", ("tool", "foundry-cm"))
        if not folder.is_dir():
            raise CmError(f"There is no folder {folder}", exit_code=USAGE)
        if not place.file.is_file():
            return cls(folder, Settings())
        tools = as_record(
            dict[str, Any], read_file(place.file).get("tool", {}), Place(place.file, ("tool",))
        )
        return cls(folder, as_record(Settings, tools.get("foundry-cm", {}), place))

    def passing(self, variables: Sequence[str]) -> Project:
        """The module with further variables passed on to it; see `env`."""
        return Project(self.folder, replace(self.settings, env=(*self.settings.env, *variables)))

    def command(self, given: Sequence[str] = (), *, verb: str = "serve") -> list[str]:
        """The command that runs the module: as given, as set, or `python src/app.py`.

        Raises `CmError` where there is none to be found; `verb` is the one that was asked for it.
        """
        if given:
            return list(given)
        if self.settings.command:
            return list(self.settings.command)
        if (self.folder / "src" / "app.py").is_file():
            return [self._python(), "src/app.py"]
        raise CmError(
            "There is no module here: no src/app.py, and no command was given",
            where=str(self.folder),
            fix=f"Give the command that runs it after --, such as: cm {verb} -- python my_module.py",
            exit_code=USAGE,
        )

    @property
    def max_megabytes(self) -> float:
        """The size limit of one call, each way, in MB (10^6 bytes)."""
        return self.settings.max_megabytes

    @property
    def timeout_seconds(self) -> float:
        """How long a caller waits for an answer, in seconds."""
        return self.settings.timeout_seconds

    @property
    def image(self) -> str:
        """The name of its image, without a registry or a tag: as set, or the folder's name."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.folder.name.lower()).strip("-")
        return self.settings.image or slug or "module"

    @property
    def image_budget(self) -> int | None:
        """The most bytes that the image may have, uncompressed; None where no budget is set."""
        megabytes = self.settings.image_budget_mb
        return None if megabytes is None else int(megabytes * 1_000_000)

    @property
    def enrollment_host(self) -> str:
        """The host of the Foundry enrollment, such as acme.palantirfoundry.com, or nothing."""
        return self.settings.enrollment_host

    @property
    def replicas(self) -> int:
        """How many replicas run at least; one where Foundry would scale to zero."""
        return max(1, self.settings.min_replicas)

    @property
    def concurrency(self) -> int:
        """How many calls one replica runs at a time."""
        return self.settings.concurrency

    @property
    def application(self) -> bool:
        """Whether it has application permissions: a service user of its own on the platform."""
        return self.settings.permissions == "application"

    @property
    def scratch(self) -> bool:
        """Whether its replicas share a cache and locks, as where the feature is on for it in Foundry."""
        return self.settings.scratch

    @property
    def env(self) -> tuple[str, ...]:
        """Variables that are passed on to the module: `NAME=VALUE`, or `NAME` for this shell's."""
        return self.settings.env

    @property
    def api_names(self) -> dict[str, str]:
        """The names that its functions have in Foundry's API, by their own names."""
        return dict(self.settings.api_names)

    @property
    def data(self) -> dict[str, str]:
        """Kinds of folders in `data/`, by name; only for those that are not known by what they hold."""
        return dict(self.settings.data)

    @property
    def remote(self) -> dict[str, str]:
        """The RIDs of data in the real Foundry, by the names that the module has for them."""
        return dict(self.settings.remote)

    @property
    def watched(self) -> Path:
        """The folder whose changes reload the module: src/, where the code lies there."""
        source = self.folder / "src"
        has_code = any(path.suffix in CODE for path in source.rglob("*"))
        return source if has_code else self.folder

    def _python(self) -> str:
        """The interpreter that has the SDK: this one, the module's `.venv`, or `python`."""
        if importlib.util.find_spec("compute_modules"):
            return sys.executable
        own = self.folder / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        return str(own) if own.exists() else "python"
