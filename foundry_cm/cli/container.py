"""Running an image in place of src/app.py, which several verbs offer."""

from __future__ import annotations

from foundry_cm.image import launch
from foundry_cm.image.engines import find_engine
from foundry_cm.image.image import check_ref
from foundry_cm.local.function.foundry import Settings


def in_container(settings: Settings, ref: str, preferred: str | None) -> Settings:
    """The settings that run an image; what it runs is in the image, so a change needs cm build."""
    check_ref(ref)
    engine = find_engine(preferred)
    return launch.in_container(settings, engine, engine.inspect(ref))
