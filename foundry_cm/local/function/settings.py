"""How a module that answers calls is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.site import Run, is_pipeline
from foundry_cm.module.project import Project
from foundry_cm.module.resources import FILE as RESOURCES
from foundry_cm.module.scaler import Rules


@dataclass(frozen=True)
class Scaling:
    """That the number of replicas follows the load, and how much faster the scaler's time passes.

    Calls and starts take as long as they take.
    """

    rules: Rules
    time_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Settings(Run):
    """How a module is run: all that `cm serve` lets its user choose."""

    replicas: int = 1
    concurrency: int = 1
    # In place of a fixed number of replicas.
    scaling: Scaling | None = None
    # The field guide's figure for one call, each way; Foundry publishes none.
    max_megabytes: float = 100.0
    # Calls through TypeScript functions must take less than five minutes (foundry docs: functions).
    timeout_seconds: float = 300.0
    # The port of the runtime; None is that of the real one, or a free one where it is taken. The older
    # protocol has a port of its own, and is served only where that is wanted.
    port: int | None = 0
    older: bool = False
    # The port of the platform; None is the usual one, or the next that is free.
    platform_port: int | None = 0
    restart: bool = True
    # Whether the module ends with the first call.
    once: bool = False
    # Whether it has application permissions: then it sees what lies in `data/` on the platform.
    application: bool = False
    # The kinds of the folders there that are said, and not found by what they hold.
    data: dict[str, str] = field(default_factory=dict)
    # The names that functions have in Foundry, by their own names.
    api_names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project, **chosen: Any) -> Settings:
        """What `pyproject.toml` says of a module, but for what is chosen here."""
        asked: dict[str, Any] = {
            "folder": project.folder,
            "max_megabytes": project.max_megabytes,
            "timeout_seconds": project.timeout_seconds,
            "application": project.application,
            "data": project.data,
            "api_names": project.api_names,
            "scratch": project.scratch,
            "passed": project.env,
        }
        return cls(**(asked | chosen))


def check_mode(folder: Path) -> None:
    """Raise `CmError` where the module in a folder is known to be a pipeline."""
    if is_pipeline(folder):
        raise CmError(
            f"This module is a pipeline, which answers no calls: {RESOURCES} names its inputs "
            "and outputs",
            where=str(folder),
            fix="A pipeline is run by: cm run",
            code="NotAFunction",
            exit_code=USAGE,
        )
