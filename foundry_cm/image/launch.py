"""Running an image as a replica of the local Foundry."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from foundry_cm.image.engines import Engine
from foundry_cm.image.image import Image
from foundry_cm.local.function.settings import Settings
from foundry_cm.local.guard import Guard
from foundry_cm.local.replica import Launch


def in_container(
    settings: Settings, engine: Engine, image: Image, *, writable: Sequence[str] | None = None
) -> Settings:
    """The settings that run an image in place of the module's folder; see `launcher`."""
    return replace(
        settings,
        command=[engine.name, "run", image.ref],
        host=engine.host_name(),
        launch=launcher(engine, image, writable=writable),
    )


def launcher(
    engine: Engine, image: Image, *mounted: Path, writable: Sequence[str] | None = None
) -> Callable[[int, dict[str, str], Path], Launch]:
    """How `LocalFoundry` starts a replica from an image: its own command, as its own user.

    The replica's files, and what is `mounted` beside them, are mounted read-only at the path that
    they have here, so that its variables hold inside as well. With `writable`, all but these folders
    of the image is read-only.
    """
    run = secrets.token_hex(4)

    def launch(index: int, env: dict[str, str], files: Path) -> Launch:
        container = engine.container(
            image,
            f"cm-{run}-{index}",
            env=env,
            mounts={path: str(path) for path in (files, *mounted)},
            writable=writable,
        )

        def before() -> None:
            for command in container.before:
                command.output()

        def after() -> None:
            for command in container.after:
                command.attempt()

        def guard(guard: Guard) -> None:
            for command in container.after:
                guard.command(list(command.argv), {**os.environ, **command.env})

        # The engine itself is run as in this shell; what the module gets of it is in the container.
        env = {**os.environ, **container.run.env}
        return Launch(container.run.argv, env, before, after, guard, container.process)

    return launch
