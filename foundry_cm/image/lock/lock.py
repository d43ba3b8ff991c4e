"""requirements.lock: what it was made from is in its head, so that anybody can tell when it is stale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from foundry_cm.errors import FAILURE, USAGE, CmError
from foundry_cm.image.image import PLATFORM
from foundry_cm.image.lock import resolve
from foundry_cm.image.lock.bases import Base, bases, pinned, python_of, unpinned
from foundry_cm.image.lock.digests import digest_of
from foundry_cm.image.lock.requirements import MAIN, TORCH, Requirements, credential
from foundry_cm.module.files import check_no_link, read_inside, replace_text
from foundry_cm.module.project import Project

# The lock of each file that the image installs.
LOCKS = {TORCH: "requirements-torch.lock", MAIN: "requirements.lock"}
LOCK = LOCKS[MAIN]
DOCKERFILE = "Dockerfile"

_HEAD = "# cm lock wrote this file. Change requirements.txt, run cm lock, and commit both."
_BASE = "base image"
_PINNED, _OPEN = "by digest, in the Dockerfile", "as its tag is"
_INPUT = re.compile(r"#   (.+): (.+)")


@dataclass(frozen=True)
class Locked:
    """What `cm lock` has done: the packages of each lock, and the base images with their digests."""

    packages: Mapping[str, int]
    bases: tuple[Base, ...]


def write(project: Project, *, base: bool = True, upgrade: bool = False) -> Locked:
    """Lock the packages and the base images of a module; nothing is written unless all is known.

    What is locked keeps its version where it still fits, unless `upgrade`. Raises `CmError` where no
    versions fit, and where a registry cannot be asked and `base` is wanted.
    """
    folder = project.folder
    requirements, dockerfile = Requirements.read(folder), _dockerfile(folder)
    for name in (*LOCKS.values(), DOCKERFILE):
        check_no_link(folder, folder / name)
    inputs = _inputs(project, requirements, dockerfile, base=base)
    known = {} if upgrade else {root: _text(folder, name) for root, name in LOCKS.items()}
    packages = resolve.resolve(requirements, inputs["python"], known)
    texts = {LOCKS[root]: _lock_text(inputs, requirements, body) for root, body in packages.items()}
    image = _with_bases(dockerfile, base=base, upgrade=upgrade)
    for name, text in texts.items():
        replace_text(folder / name, text)
    for name in set(LOCKS.values()) - texts.keys():
        (folder / name).unlink(missing_ok=True)
    if image != dockerfile:
        replace_text(folder / DOCKERFILE, image)
    counts = {name: len(re.findall(r"^\w", text, re.MULTILINE)) for name, text in texts.items()}
    return Locked(counts, tuple(bases(image)))


def problem(project: Project) -> CmError | None:
    """Why the lock does not stand for what the image is built from; None where it does.

    That newer versions exist is no reason. Nothing is asked of any server.
    """
    folder = project.folder
    requirements, dockerfile = Requirements.read(folder), _dockerfile(folder)
    for root in requirements.roots:
        name = LOCKS[root]
        if not (folder / name).is_file():
            what = f"There is no {name}, so each build takes the newest versions"
            return _stale(what, name, "cm lock writes it; commit it.", "NoLock")
        text = _text(folder, name)
        head = dict(_INPUT.findall(text))
        base = head.get(_BASE) == _PINNED
        wanted = _inputs(project, requirements, dockerfile, base=base)
        changed = [key for key in {**wanted, **head} if wanted.get(key) != head.get(key)]
        if changed:
            number = next(
                (n for n, line in enumerate(text.splitlines(), 1) if f" {changed[0]}: " in line), 1
            )
            what = f"{name} is stale: {' and '.join(changed)} changed since it was written"
            return _stale(what, f"{name}:{number}", "cm lock, and commit what it writes.")
        for open_base in (found for found in bases(dockerfile) if base and not found.digest):
            what = (
                f"{name} is stale: {open_base.name} has no digest, though the lock has one for it"
            )
            return _stale(what, f"{DOCKERFILE}:{open_base.line}", "cm lock writes it again.")
    return None


def note(project: Project) -> str | None:
    """What is to be said beside a build whose Dockerfile installs a lock: that it is missing or stale."""
    try:
        found = problem(project) if installs(project) else None
    except CmError as error:
        found = error
    return found.what if found else None


def installs(project: Project) -> bool:
    """Whether the Dockerfile installs the lock, as a rendered one does where it is there."""
    return LOCK in _dockerfile(project.folder)


def _inputs(
    project: Project, requirements: Requirements, dockerfile: str, *, base: bool
) -> dict[str, str]:
    python = project.settings.python or python_of(dockerfile)
    if python is None:
        raise CmError(
            "cm cannot tell the image's Python version from its base image",
            where=str(project.folder / DOCKERFILE),
            fix='Set it in pyproject.toml: [tool.foundry-cm] python = "3.13"',
            code="Python",
            exit_code=USAGE,
        )
    return {
        "python": python,
        "platform": PLATFORM,
        _BASE: _PINNED if base and bases(dockerfile) else _OPEN,
        **requirements.hashes(),
    }


def _lock_text(inputs: Mapping[str, str], requirements: Requirements, body: str) -> str:
    """A lock as pip reads it. An index that only this machine's settings name is not in it."""
    head = [_HEAD, "# It is stale when one of these is no longer so:"]
    head += [f"#   {name}: {value}" for name, value in inputs.items()]
    text = "\n".join([*head, "", *requirements.sources(), body.strip(), ""])
    if credential(body):
        raise CmError(
            "uv's result contains a credential, so cm wrote no lock",
            where=MAIN,
            fix="Take the package from an index, whose login is in pip.conf.",
            code="Credential",
        )
    return text


def _with_bases(dockerfile: str, *, base: bool, upgrade: bool) -> str:
    if not base:
        return unpinned(dockerfile)
    found = unpinned(dockerfile) if upgrade else dockerfile
    known: dict[str, str] = {}

    def once(image: Base) -> str:
        if image.name not in known:
            known[image.name] = digest_of(image.name, f"{DOCKERFILE}:{image.line}")
        return known[image.name]

    return pinned(found, once)


def _dockerfile(folder: Path) -> str:
    return _text(folder, DOCKERFILE)


def _text(folder: Path, name: str) -> str:
    return read_inside(folder, folder / name) if (folder / name).is_file() else ""


def _stale(what: str, where: str, fix: str, code: str = "StaleLock") -> CmError:
    return CmError(what, where=where, fix=fix, code=code, exit_code=FAILURE)
