"""`cm publish`: from a committed module to an image that Foundry can run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from foundry_cm.errors import CmError
from foundry_cm.image.build import Report, build
from foundry_cm.image.command import Command
from foundry_cm.image.engines import Engine, Secret, find_engine
from foundry_cm.image.image import check_name, check_tag
from foundry_cm.image.registry import (
    REPOSITORY,
    TOKEN,
    Target,
    find_host,
    missing_login,
    missing_trust,
    published_digest,
)
from foundry_cm.image.version_tag import tag_from_git
from foundry_cm.module.project import Project

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Request:
    """What `cm publish` was asked for; None where the module or git says it."""

    folder: Path
    engine: str | None = None
    registry: str | None = None
    tag: str | None = None
    allow_dirty: bool = False
    secrets: tuple[Secret, ...] = ()
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """An image in the registry; `report` is None when it was there already."""

    target: Target
    digest: str
    report: Report | None

    def as_json(self) -> dict[str, Any]:
        """As `--format json` prints it."""
        size = self.report.image.size if self.report else None
        return {"image": self.target.ref, "digest": self.digest, "size": size}

    def add_to(self, file: Path) -> None:
        """Add it to a file of `NAME=VALUE` lines, which a CI job hands to its next steps.

        `built` is false for an image that was there already: who built it is not known. Raises
        `CmError` where it cannot be written.
        """
        built = "true" if self.report else "false"
        lines = f"image={self.target.ref}\ndigest={self.digest}\nbuilt={built}\n"
        try:
            with file.open("a", encoding="utf-8", newline="\n") as opened:
                opened.write(lines)
        except OSError as error:
            raise CmError(
                f"{file} cannot be written: {error.strerror}. The image is published: {self.digest}",
                where=str(file),
                code="CannotWrite",
            ) from None

    def show(self, console: Console) -> None:
        """Print what is where now, and the clicks that make the module run it."""
        state = "Published" if self.report else "Already published"
        lines = (
            f"{state} {self.target.ref}",
            f"digest {self.digest}",
            "",
            "Next, in Foundry (its documentation has no API call for this):",
            "  1. Open the compute module, Configure tab: Add Container, or open the one there.",
            f"  2. Repository {os.environ.get(REPOSITORY, '')}",
            f"     image {self.target.image}, tag {self.target.tag}.",
            "  3. Update configuration. A running module goes on until the new one is responsive.",
            "  4. Start it (Overview) if it is stopped; its functions appear in the Functions tab",
            "     1 to 2 minutes after it is responsive. Try one in the Query panel.",
        )
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Plan:
    """Everything `cm publish` needs to know before it starts."""

    request: Request
    project: Project
    engine: Engine
    target: Target

    def commands(self, auth: Path) -> Sequence[Command]:
        """The engine's commands in the order in which they run."""
        request, ref = self.request, self.target.ref
        return (
            self.engine.login(self.target.host, os.environ.get(REPOSITORY, ""), TOKEN, auth),
            self.engine.build(request.folder, ref, secrets=request.secrets, extra=request.extra),
            self.engine.push(ref, auth / "digest", auth),
        )


def preflight(request: Request) -> tuple[Plan | None, list[CmError]]:
    """The plan, as far as it can be made, and everything that is missing for it.

    Without an engine the plan is made for docker, so that `--dry-run` can show it.
    """
    project = Project.read(request.folder)
    missing: list[CmError] = []
    engine = _or_note(missing, lambda: find_engine(request.engine)) or Engine()
    host = _or_note(missing, lambda: find_host(request.registry, project.enrollment_host))
    if host is not None:
        missing.extend(missing_trust(request.registry, project.enrollment_host))
    name = _or_note(missing, lambda: check_name(project.image))
    tag = _or_note(missing, lambda: _tag(request))
    missing.extend(missing_login())
    if host is None or name is None or tag is None:
        return None, missing
    return Plan(request, project, engine, Target(host, name, tag)), missing


def ready(plan: Plan | None, missing: Sequence[CmError]) -> Plan:
    """The plan, when nothing is missing; otherwise one `CmError` that names every missing piece."""
    if plan is not None and not missing:
        return plan
    if len(missing) == 1:
        raise missing[0]
    raise CmError(
        f"{len(missing)} things are missing before you can publish",
        details="\n".join(f"- {error.what}. {error.fix or ''}".rstrip() for error in missing),
        fix="Each line below says what to do; cm publish --dry-run shows what would run.",
        code="Preflight",
        exit_code=missing[0].exit_code,
    )


def publish(plan: Plan, console: Console) -> Published:
    """Log in, build, check and push; the login is forgotten afterwards. `console` shows the image.

    An image that the registry has already under a tag made from git is not pushed again: it was
    built from the same source. Raises `CmError` when a step fails, or when a tag that was given by
    hand is taken.
    """
    taken = published_digest(plan.target)
    if taken and plan.request.tag is None:
        return Published(plan.target, taken, None)
    if taken:
        raise CmError(
            f"the registry has an image {plan.target.image}:{plan.target.tag} already",
            where=plan.target.ref,
            fix="Give another --tag: what runs under a tag must not change.",
            code="TagTaken",
        )
    with tempfile.TemporaryDirectory(prefix="cm-publish-") as folder:
        auth = Path(folder)
        plan.engine.prepare(auth)
        login, _, push = plan.commands(auth)
        login.run(fix=f"Generate a new token where {TOKEN} came from; it needs Edit there.")
        report = _checked_build(plan, console)
        push.run(fix=f"The owner of {TOKEN} needs Edit on the Artifacts repository.")
        digest = plan.engine.digest(plan.target.ref, auth / "digest")
    return Published(plan.target, digest, report)


def _checked_build(plan: Plan, console: Console) -> Report:
    request = plan.request
    report = build(
        request.folder,
        plan.target.ref,
        plan.engine,
        budget=plan.project.image_budget,
        secrets=request.secrets,
        extra=request.extra,
    )
    report.show(console)
    report.check()
    return report


def _tag(request: Request) -> str:
    if request.tag is not None:
        return check_tag(request.tag)
    return tag_from_git(request.folder, allow_dirty=request.allow_dirty)


def _or_note(missing: list[CmError], find: Callable[[], _Found]) -> _Found | None:
    try:
        return find()
    except CmError as error:
        missing.append(error)
        return None
