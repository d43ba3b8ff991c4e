"""The image: what Foundry asks of its platform, user, ports and base."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

from foundry_cm.checks.container import Container, containers, dockerfiles
from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.image.facts import broken_port, broken_user
from foundry_cm.image.image import PLATFORM, split_ref
from foundry_cm.module.dockerfile import Stage, instructions

_SAME_PLATFORM = {"amd64", "linux/amd64", "x86_64", "linux/x86_64", "linux/x86-64"}
_OTHER_PLATFORM = re.compile(r"(arm32v\d|arm64v8|ppc64le|s390x|riscv64|i386)/")
# The ends of Node.js releases that anyone still uses; an odd one lasts half a year.
_NODE_ENDS = {
    18: datetime.date(2025, 4, 30),
    20: datetime.date(2026, 4, 30),
    22: datetime.date(2027, 4, 30),
    24: datetime.date(2028, 4, 30),
}
_OLDEST_PYTHON = (3, 10)
_INSTRUCTIONS = {
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip

GOOD = """\
FROM --platform=linux/amd64 python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY src .
USER 5000
CMD ["python", "app.py"]
"""


def _changed(old: str, new: str) -> dict[str, str]:
    """The good Dockerfile with one mistake."""
    assert old in GOOD
    return {"Dockerfile": GOOD.replace(old, new)}


@check(
    "CM100",
    "not-a-dockerfile",
    bad=(
        Bad("Dockerfile:6", _changed("-r requirements.txt", "\\\n-r requirements.txt\nnumpy")),
        Bad("Dockerfile:1", {"Dockerfile": "RUN true\n"}),
    ),
    good=({"Dockerfile": GOOD}, {"Dockerfile": "ARG A\nfrom a:1\nrun <<E\nnumpy\nE\n"}),
)
def not_a_dockerfile(module: Module) -> Iterator[Finding]:
    """A line of a Dockerfile that no builder reads, or a Dockerfile without FROM.

    Often the line before it lacks the backslash that joins the two.
    """
    for path in dockerfiles(module):
        found = list(instructions(module.text(path) or ""))
        for instruction in found:
            if instruction.name not in _INSTRUCTIONS:
                yield Finding(
                    f"{instruction.name} is no instruction of a Dockerfile",
                    path,
                    "Mend its name, or end the line before it with a backslash.",
                    instruction.line,
                )
        if not any(instruction.name == "FROM" for instruction in found):
            fix = "Name the base: FROM --platform=linux/amd64 python:3.12-slim."
            yield Finding("The Dockerfile has no FROM", path, fix)


@check(
    "CM101",
    "image-platform",
    bad=(
        Bad("Dockerfile:1", _changed("linux/amd64", "linux/arm64")),
        Bad("Dockerfile:1", _changed("--platform=linux/amd64 ", "")),
        Bad("Dockerfile:1", _changed("linux/amd64", "$BUILDPLATFORM")),
        Bad("Dockerfile:1", _changed("--platform=linux/amd64 ", "arm64v8/")),
        Bad(
            "Dockerfile:1",
            {"Dockerfile": "FROM python:3.12 AS build\n" + GOOD + "COPY --from=build /v /v\n"},
        ),
    ),
    good=(
        {"Dockerfile": GOOD},
        _changed("linux/amd64", "amd64"),
        {"Dockerfile": "ARG WHERE=linux/amd64\n" + GOOD.replace("linux/amd64", "$WHERE")},
        {"Dockerfile": "FROM --platform=amd64 python:3.12 AS base\nFROM base\nUSER 5000\n"},
        {"Dockerfile": "FROM --platform=$BUILDPLATFORM golang:1.26 AS build\n" + GOOD},
        _changed("--platform=linux/amd64 ", "amd64/"),
    ),
)
def platform(module: Module) -> Iterator[Finding]:
    """The image must be for linux/amd64.

    Without `--platform` an image is for the machine that builds it: on Apple silicon that is arm64,
    and Foundry's error does not say so. A stage that the image copies from counts as well.
    """
    for container in containers(module):
        last = container.last.root
        copied = {
            step.instruction.flag("from") or ""
            for step in container.last.steps
            if step.instruction.name in {"COPY", "ADD"}
        }
        for number, stage in enumerate(container.stages):
            is_copied = bool({stage.name, str(number)} & {name.lower() for name in copied})
            if stage is last or (is_copied and stage.root is stage and stage.platform is None):
                yield from _platform(container, stage)


def _platform(container: Container, stage: Stage) -> Iterator[Finding]:
    given = stage.platform
    by_machine = given is None or "BUILDPLATFORM" in given or "TARGETPLATFORM" in given
    if by_machine and not stage.base.startswith("amd64/"):
        other = _OTHER_PLATFORM.match(stage.base)
        what = f"for {other[0][:-1]}" if other else "for the machine that builds it"
        severity = None if other else Severity.WARNING
    elif (
        given is None
        or "$" in given
        or given.lower() in _SAME_PLATFORM
        or given.lower().startswith("linux/amd64/")
    ):
        return
    else:
        what, severity = f"for {given}", None
    line = container.module.lines(container.path)[stage.line - 1]
    mended = re.sub(
        r"^(\s*FROM\s+)(--platform=\S+\s+)?", rf"\1--platform={PLATFORM} ", line, flags=re.I
    )
    yield Finding(
        f"The image is {what}",
        container.path,
        f"Foundry runs {PLATFORM}: write FROM --platform={PLATFORM}.",
        stage.line,
        severity,
        edit=(Edit(container.path, stage.line, stage.line + 1, (mended,)),)
        if mended != line
        else (),
    )


@check(
    "CM102",
    "image-user",
    bad=(
        Bad("Dockerfile:1", _changed("USER 5000\n", "")),
        Bad("Dockerfile:6", _changed("USER 5000", "USER appuser")),
        Bad("Dockerfile:6", _changed("USER 5000", "USER 0:5000")),
        Bad("Dockerfile:8", {"Dockerfile": GOOD + "USER root\n"}),
        Bad("Dockerfile:3", {"Dockerfile": "FROM a:1 AS build\nUSER 5000\nFROM b:1\n"}),
        Bad("Dockerfile:2", {"Dockerfile": "FROM a:1\nUSER 0\n"}),
    ),
    good=(
        {"Dockerfile": GOOD},
        _changed("USER 5000", "USER 5000:5000"),
        _changed("USER 5000", "ARG ID=5001\nUSER $ID"),
        _changed("USER 5000", "USER root\nRUN true\nUSER 5000"),
        {"Dockerfile": "FROM a:1 AS base\nUSER 5000\nFROM base\n"},
    ),
)
def user(module: Module) -> Iterator[Finding]:
    """The image must run as a numeric user that is not root.

    The USER that counts is the last one of the last stage, or of the stage that it goes on from.
    Foundry does not start the image with a name, with 0, or without any.
    """
    for container in containers(module):
        step = container.final("USER")
        name = step.words[0] if step and step.words else ""
        broken = None if "$" in name else broken_user(name)
        if not broken:
            continue
        what, fix = broken
        elsewhere = [
            own.line
            for stage in container.stages
            for own in stage.instructions
            if own.name == "USER"
        ]
        if not step and elsewhere:
            what = f"the USER of line {elsewhere[-1]} is another stage's: the image runs as root"
        line = step.instruction.line if step else container.last.line
        yield Finding(what[0].upper() + what[1:], container.path, fix, line)


@check(
    "CM107",
    "floating-base",
    severity=Severity.WARNING,
    bad=(
        Bad("Dockerfile:1", _changed("python:3.12-slim", "python")),
        Bad("Dockerfile:1", _changed("python:3.12-slim", "host:5000/team/python:latest")),
        Bad("Dockerfile:1", {"Dockerfile": "FROM node AS build\n" + GOOD}),
    ),
    good=(
        {"Dockerfile": GOOD},
        _changed("python:3.12-slim", "python@sha256:" + "0" * 64),
        {"Dockerfile": "ARG TAG\n" + GOOD.replace("3.12-slim", "$TAG")},
        {"Dockerfile": "FROM python:3.12 AS base\nFROM base AS other\nFROM other\nUSER 5000\n"},
        {"Dockerfile": "FROM scratch\nUSER 5000\n"},
    ),
)
def floating_base(module: Module) -> Iterator[Finding]:
    """A base image without a tag, or with the tag `latest`.

    The next build may have another Python, for which a dependency has no wheel.
    """
    for container in containers(module):
        for stage in container.stages:
            if stage.parent or stage.base == "scratch" or "@" in stage.base or "$" in stage.base:
                continue
            name, tag = split_ref(stage.base)
            if tag in ("", "latest"):
                yield Finding(
                    f"The base {stage.base} {'is latest' if tag else 'has no tag'}",
                    container.path,
                    f"Name a version, such as {name}:{_versions(name)}.",
                    stage.line,
                )


def _versions(name: str) -> str:
    known = {"python": "3.12-slim", "node": "24-slim", "debian": "13-slim", "ubuntu": "24.04"}
    return known.get(name.rpartition("/")[2], "1.2.3")


@check(
    "CM108",
    "exposed-port",
    bad=(
        Bad("Dockerfile:8", {"Dockerfile": GOOD + "EXPOSE 80\n"}),
        Bad("Dockerfile:8", {"Dockerfile": GOOD + "EXPOSE 8000 8946/tcp\n"}),
        Bad("Dockerfile:9", {"Dockerfile": GOOD + "ENV PORT=8945\nEXPOSE $PORT\n"}),
        Bad("Dockerfile:8", {"Dockerfile": GOOD + "EXPOSE 8940-8950\n"}),
        Bad("Dockerfile:8", {"Dockerfile": GOOD + "EXPOSE 70000\n"}),
    ),
    good=(
        {"Dockerfile": GOOD + "EXPOSE 1024 65535/udp $PORT 9000-9010\n"},
        {"Dockerfile": "FROM a:1 AS build\nEXPOSE 80\n" + GOOD},
    ),
)
def exposed_port(module: Module) -> Iterator[Finding]:
    """A port that Foundry refuses: below 1024, above 65535, or 8945 and 8946 of its own runtime."""
    for container in containers(module):
        for step in container.last.steps:
            for port in step.words if step.instruction.name == "EXPOSE" else ():
                if re.fullmatch(r"\d+(-\d+)?(/\w+)?", port) and (broken := broken_port(port)):
                    what, fix = broken
                    what = what[0].upper() + what[1:]
                    yield Finding(what, container.path, fix, step.instruction.line)


@check(
    "CM109",
    "no-shell",
    bad=(
        Bad("Dockerfile:1", _changed("python:3.12-slim", "gcr.io/distroless/python3-debian12:nonroot")),
        Bad("Dockerfile:2", {"Dockerfile": "FROM golang:1.26 AS build\nFROM scratch\nCOPY --from=build /m /m\n"}),
        Bad("Dockerfile:1", _changed("python:3.12-slim", "cgr.dev/chainguard/python:3.12")),
        Bad("Dockerfile:1", {"Dockerfile": "FROM scratch\nADD rootfs /\nCOPY rootfs.tar /\n"}),
    ),
    good=(
        {"Dockerfile": GOOD},
        {"Dockerfile": "FROM busybox:1 AS box\nFROM scratch\nCOPY --from=box /bin /bin\n"},
        {"Dockerfile": "FROM scratch\nADD rootfs.tar.xz /\n"},
        _changed("python:3.12-slim", "cgr.dev/chainguard/python:3.12-dev"),
        {"Dockerfile": "FROM gcr.io/distroless/base:1 AS unused\n" + GOOD},
    ),
)  # fmt: skip
def no_shell(module: Module) -> Iterator[Finding]:
    """A base without a shell, `tee` or `echo`.

    Foundry collects standard output through `/bin/sh` and `tee`, and its default readiness probe
    runs `echo`: without them the module gives no logs, or is started again and again.
    """
    for container in containers(module):
        root = container.last.root
        minimal = re.search(r"distroless|^cgr\.dev/(?!.*-dev\b)", root.base)
        if (minimal or root.base == "scratch") and not any(
            (step.instruction.flag("from") is not None and set(step.words) & {"/bin", "/bin/", "/bin/sh", "/"})
            or (step.instruction.name == "ADD" and any(re.search(r"\.tar\b|\.t[gx]z$", w) for w in step.words))
            for step in container.last.steps
        ):  # fmt: skip
            yield Finding(
                f"The base {root.base} has no /bin/sh, tee and echo",
                container.path,
                "Foundry needs them for logs and for its readiness probe: use a base with a shell, "
                "such as python:3.12-slim.",
                root.line,
            )


@check(
    "CM116",
    "ended-base",
    severity=Severity.WARNING,
    bad=(
        Bad("Dockerfile:1", _changed("python:3.12-slim", "python:3.9")),
        Bad("Dockerfile:1", _changed("python:3.12-slim", "python:2")),
        Bad("Dockerfile:1", _changed("python:3.12-slim", "node:16-alpine")),
        Bad("Dockerfile:1", _changed("python:3.12-slim", "docker.io/library/node:19.1")),
        Bad("Dockerfile:1", _changed("python:3.12-slim", "node:20")),
    ),
    good=(
        {"Dockerfile": GOOD},
        _changed("python:3.12-slim", "python:3.10-slim"),
        _changed("python:3.12-slim", "python:3"),
        _changed("python:3.12-slim", "node:lts-slim"),
        _changed("python:3.12-slim", "node:24"),
    ),
)
def ended_base(module: Module) -> Iterator[Finding]:
    """A base with a Python that the SDK does not install on, or a Node.js that gets no more fixes."""
    for container in containers(module):
        for stage in container.stages:
            found = re.match(r"(?:.*/)?(python|node):((\d+)(?:\.(\d+))?)", stage.base)
            if not found:
                continue
            major, minor = int(found[3]), int(found[4] or 99)
            if found[1] == "python" and (major, minor) < _OLDEST_PYTHON:
                yield Finding(
                    f"foundry-compute-modules does not install on Python {found[2]}",
                    container.path,
                    "It needs Python 3.10 or newer: use python:3.12-slim.",
                    stage.line,
                    Severity.ERROR,
                )
            elif found[1] == "node" and _has_ended(major):
                yield Finding(
                    f"Node.js {major} gets no more security fixes",
                    container.path,
                    "Use a release with long-term support, such as node:24-slim.",
                    stage.line,
                )


def _has_ended(major: int) -> bool:
    if major in _NODE_ENDS:
        return _NODE_ENDS[major] < datetime.date.today()
    return major < max(_NODE_ENDS)
