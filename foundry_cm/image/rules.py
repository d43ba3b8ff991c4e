"""What Foundry asks of an image, checked on the built one.

Sources: Foundry documentation, "Containers", "Probes" and "Debugging" of compute modules; the layer
size is stated for container transforms ("Container overview").
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from foundry_cm.errors import CmError
from foundry_cm.image.engines import Engine
from foundry_cm.image.facts import broken_port, broken_user, is_secret
from foundry_cm.image.image import MB, PLATFORM, Image, human_size, split_ref

MAX_LAYER = 10_000 * MB


def broken_rules(image: Image, engine: Engine) -> list[CmError]:
    """Every rule of Foundry that the image breaks, each with its mend; empty for a good image."""
    return [*_configuration(image), *_tools(image, engine)]


def _configuration(image: Image) -> Iterator[CmError]:
    platform = f"{image.os}/{image.architecture}"
    if platform != PLATFORM:
        yield _broken("platform", f"the image is for {platform}", f"Foundry runs {PLATFORM}.")
    if broken := broken_user(image.user):
        yield _broken("user", *broken)
    if not image.command:
        yield _broken("entrypoint", "no ENTRYPOINT or CMD", "Name the program that runs app.py.")
    if split_ref(image.ref)[1] in ("", "latest"):
        yield _broken("tag", "the tag is latest", "Tag it with a version: Foundry refuses latest.")
    for port in image.ports:
        if broken := broken_port(port):
            yield _broken("port", *broken)
    for layer in image.layers:
        if layer.size > MAX_LAYER:
            what = f"a layer has {human_size(layer.size)}: {layer.instruction}"
            fix = "Split it, or load the data at start: 10 GB is the most for a layer."
            yield _broken("layer-size", what, fix)
    for name, value in image.env.items():
        if is_secret(name, value):
            what = f"the image carries the variable {name}"
            yield _broken("secret", what, "Pass it as a build secret, or by a Source at run time.")


def _tools(image: Image, engine: Engine) -> Iterator[CmError]:
    """Foundry collects stdout through /bin/sh, `set` and `tee`; its default probe runs `echo`.

    What lies in the image's working directory is read by its user there; without one of its own that
    is the whole system, of which some is root's.
    """
    script = (
        "set -e; for tool in tee echo; do command -v $tool >/dev/null || echo $tool; done; "
        '[ "$PWD" != / ] || exit 0; '
        'for file in . * */* */*/*; do [ ! -e "$file" ] || [ -r "$file" ] || echo "./$file"; done'
    )
    name = f"cm-check-{secrets.token_hex(4)}"
    container = engine.container(image, name, command=("/bin/sh", "-c", script))
    try:
        for command in container.before:
            command.output()
        found = container.run.output().splitlines()
    except CmError as error:
        yield CmError(
            "/bin/sh does not run in the image",
            where=f"image {image.ref}",
            fix="Foundry reads stdout through it: use a base with a shell, such as python:slim.",
            code="shell",
            details=error.details,
        )
        return
    finally:
        for command in container.after:
            command.attempt()
    for tool in (name for name in found if not name.startswith("./")):
        fix = "Foundry needs it: use a base with it, such as python:slim."
        yield _broken("shell", f"{tool} is not in the image", fix)
    if unreadable := [name.removeprefix("./") for name in found if name.startswith("./")]:
        what = f"{unreadable[0]} cannot be read by the image's user, {image.user}"
        fix = "COPY keeps the mode that files have here: write COPY --chmod=0755."
        yield _broken("mode", what, fix)


def _broken(rule: str, what: str, fix: str) -> CmError:
    return CmError(what, fix=fix, code=rule)
