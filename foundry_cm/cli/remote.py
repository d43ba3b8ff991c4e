"""What `cm serve` and `cm run` do alike with data of the real Foundry: they say so before they read it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from foundry_cm.cli.console import say
from foundry_cm.enrollment.person import HOSTNAME
from foundry_cm.module.project import Project


def remote_inputs(project: Project, asked: Sequence[str] | None) -> dict[str, str]:
    """The RIDs of what is read in the real Foundry, by alias; raises `CmError`."""
    if not asked:
        return {}
    from foundry_cm.local.platform.remote import chosen

    return chosen(asked, project.remote)


def show_remote(remote: Mapping[str, str]) -> None:
    """Say what the module reads of the real Foundry."""
    for alias, rid in remote.items():
        say(
            f"  REMOTE   {alias} is {rid} on {os.environ.get(HOSTNAME, '')}: real data, read with "
            f"your token. cm never writes there.",
            "bold yellow",
        )
