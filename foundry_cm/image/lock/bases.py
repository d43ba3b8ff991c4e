"""The base images of a Dockerfile: `FROM NAME:TAG` becomes `FROM NAME:TAG@DIGEST`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from foundry_cm.errors import CmError
from foundry_cm.module.dockerfile import instructions

_PYTHON = re.compile(r"(?:^|/)python:(\d+\.\d+)\b")


@dataclass(frozen=True)
class Base:
    """An image that a Dockerfile begins with: its line, its name with the tag, and its digest."""

    line: int
    name: str
    digest: str | None


def bases(dockerfile: str) -> list[Base]:
    """The images that come from elsewhere; stages of the file itself and `scratch` are none."""
    found, stages = [], {"scratch"}
    for instruction in instructions(dockerfile):
        if instruction.name != "FROM":
            continue
        image, word, stage = (*instruction.text.split(), "", "", "")[:3]
        if image and image.lower() not in stages:
            name, _, digest = image.partition("@")
            found.append(Base(instruction.line, name, digest or None))
        if word.upper() == "AS":
            stages.add(stage.lower())
    return found


def python_of(dockerfile: str) -> str | None:
    """The Python of the image that is built last, where its base is called `python:3.13-slim`."""
    found = [_PYTHON.search(base.name) for base in bases(dockerfile)]
    return found[-1][1] if found and found[-1] else None


def pinned(dockerfile: str, digest_of: Callable[[Base], str]) -> str:
    """The Dockerfile with a digest behind each base image that has none."""
    lines = dockerfile.splitlines(keepends=True)
    for base in bases(dockerfile):
        if "$" in base.name:
            raise CmError(
                f"The base image {base.name} has a variable in its name, so cm cannot pin its "
                f"digest",
                where=f"Dockerfile:{base.line}",
                fix="Write the image name without a variable, or leave it unpinned: cm lock "
                "--no-base",
                code="BaseImage",
            )
        if base.digest is None:
            line = lines[base.line - 1]
            lines[base.line - 1] = line.replace(base.name, f"{base.name}@{digest_of(base)}", 1)
    return "".join(lines)


def unpinned(dockerfile: str) -> str:
    """The Dockerfile with the names of its base images alone."""
    lines = dockerfile.splitlines(keepends=True)
    for base in bases(dockerfile):
        if base.digest is not None:
            lines[base.line - 1] = lines[base.line - 1].replace(f"@{base.digest}", "", 1)
    return "".join(lines)
