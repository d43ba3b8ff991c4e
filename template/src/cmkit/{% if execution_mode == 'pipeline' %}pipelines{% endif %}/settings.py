"""What resources.json declares, and what Foundry has under those aliases."""

import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from compute_modules.resources import PipelineResource, get_pipeline_resources

from ..startup import SRC
from .ends import SettingsError

KEYS = ("inputs", "outputs", "errors", "output_format", "poll_seconds")


@cache
def declared() -> dict[str, Any]:
    """The content of resources.json."""
    settings = json.loads((SRC / "resources.json").read_text(encoding="utf-8"))
    if missing := [key for key in KEYS if key not in settings]:
        raise SettingsError(f"resources.json has no {', '.join(missing)}")
    return cast(dict[str, Any], settings)


def check_runtime() -> None:
    """Exit where the module does not run inside Foundry."""
    if "RESOURCE_ALIAS_MAP" not in os.environ:
        sys.exit("This module runs inside Foundry. To run it on this machine: cm run")


def resources(aliases: Iterable[str]) -> dict[str, PipelineResource]:
    """The resources of the module by alias; it exits where one of these is not among them."""
    check_runtime()
    found = get_pipeline_resources()
    if missing := [alias for alias in aliases if alias not in found]:
        sys.exit(f"Not configured in Foundry as input or output: {', '.join(missing)}")
    return found
