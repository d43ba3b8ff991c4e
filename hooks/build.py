"""The build hook of foundry-cm: what is built carries the template at the commit it is built from.

`cm check` renders that template to find edits in the template's files. Built without git, it carries none.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TemplateArchive(BuildHookInterface[Any]):
    """Adds the archive to the wheel, and to the sdist for the wheels that are built from it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the archive, before the files are collected."""
        # An editable install has the checkout itself.
        if version == "editable":
            return
        carried = runpy.run_path(str(Path(self.root, "foundry_cm", "checks", "carried.py")))
        archive = carried["archive"](Path(self.root))
        if archive is not None:
            # It is deleted with this hook, which lives until the file is built.
            self.folder = TemporaryDirectory(prefix="template-")
            file = Path(self.folder.name, "template.zip")
            file.write_bytes(archive)
            build_data["force_include"][str(file)] = carried["IN_WHEEL"]
