"""What the template makes of a module's answers, rendered on this machine and without the network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from foundry_cm.checks.carried import Carried


@dataclass(frozen=True)
class Rendering:
    """A module as it was written; `refusal` says why where the template refuses its answers."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    refusal: str | None = None

    def owns(self, file: str) -> bool:
        """Whether a file is the template's: an update replaces it."""
        return any(fnmatch(file, f"{path}*") for path in self.replaced)


def of(template: Carried, answers: Mapping[str, Any]) -> Rendering:
    """Render the template with the answers of a module."""
    # Copier takes as long to import as all the rest of `cm check` takes.
    import yaml
    from copier import run_copy
    from copier.errors import CopierError

    with TemporaryDirectory(prefix="cm-check-") as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, module = template.unpack(Path(name, "template")), Path(name, "module")
        config = yaml.safe_load((source / "copier.yml").read_text("utf-8"))
        given = {key: value for key, value in answers.items() if not key.startswith("_")}
        try:
            run_copy(str(source), module, data=given, defaults=True, quiet=True)
        except (CopierError, ValueError) as error:
            return Rendering(refusal=str(error))
        return Rendering(
            files={
                path.relative_to(module).as_posix(): path.read_bytes()
                for path in module.rglob("*")
                if path.is_file()
            },
            answers=yaml.safe_load((module / ".copier-answers.yml").read_text("utf-8")),
            replaced=tuple(config["owners"]["default"]["replaced"]),
        )
