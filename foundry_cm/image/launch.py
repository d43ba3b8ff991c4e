"""Running an image as a replica of the local Foundry."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from foundry_cm.image.engines import Engine
from foundry_cm.image.image import Image
from foundry_cm.local.replica import Launch


def launcher(engine: Engine, image: Image) -> Callable[[int, dict[str, str], Path], Launch]:
    """How `LocalFoundry` starts a replica from an image: its own command, as its own user.

    The replica's files are mounted read-only at the path that they have here, so that its
    variables hold inside as well.
    """
    run = secrets.token_hex(4)

    def launch(index: int, env: dict[str, str], files: Path) -> Launch:
        container = engine.container(
            image, f"cm-{run}-{index}", env=env, mounts={files: str(files)}
        )

        def before() -> None:
            for command in container.before:
                command.output()

        def after() -> None:
            for command in container.after:
                command.attempt()

        return Launch(container.run.argv, container.run.env, before, after)

    return launch
