"""What goes wrong on the platform's own side: routes that it lacks, and a disk that takes nothing more."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from foundry_cm.errors import CmError
from foundry_cm.local.platform.errors import ApiError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
MOST_SHOWN = 8
# The official client takes a 404 without a body for an API that its enrollment lacks.
OFFICIAL_CLIENT = "python-foundry-platform-sdk/"


@dataclass
class Incidents:
    """Hears of both; once the disk has refused something, `failure` is why nothing goes on."""

    on_unknown: Callable[[str], None] = lambda _: None
    failure: CmError | None = None

    def refused(self, error: OSError, root: Path) -> ApiError:
        """The disk refused to take something."""
        self.failure = self.failure or cannot_write(error, root)
        return ApiError("Default:Internal", status=500, message=self.failure.what)


INCIDENTS = web.AppKey("incidents", Incidents)


def is_refusal(error: OSError) -> bool:
    """Whether the disk is full, or closed to this user."""
    return error.errno in FULL | CLOSED


def cannot_write(error: OSError, root: Path) -> CmError:
    """What a person is told when the disk refuses an output."""
    path = Path(os.fsdecode(error.filename)) if error.filename else root / "outputs"
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    fix = None
    if error.errno in FULL:
        fix = "Free some space, then: cm run. What was committed is kept."
    elif error.errno in CLOSED:
        fix = "Give yourself the right to write there, then: cm run"
    return CmError(
        f"{shown.as_posix()} cannot be written: {error.strerror}",
        where=str(path),
        fix=fix,
        code="CannotWrite",
    )


def check_writable(folder: Path, root: Path) -> None:
    """Raise the `CmError` of a folder below the root that cannot be made, or not be written to."""
    while not folder.exists():
        folder = folder.parent
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise cannot_write(OSError(error.errno, error.strerror, str(folder)), root) from None


def unknown_route(request: web.Request, error: web.HTTPException) -> web.Response:
    """The answer to a call that no route takes, with the ones that come nearest."""
    asked = f"{request.method} {request.path}"
    known = nearest(request)
    request.app[INCIDENTS].on_unknown(f"{asked}: the local platform has no such route")
    if request.headers.get("User-Agent", "").startswith(OFFICIAL_CLIENT) and error.status == 404:
        return web.Response(status=404)
    name = "Default:NotFound" if error.status == 404 else "Default:MethodNotAllowed"
    told = ApiError(name, status=error.status, message=f"no route for {asked}", known=known)
    allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    told.headers = allowed
    return told.response()


def nearest(request: web.Request) -> list[str]:
    """The routes whose paths begin as the one that was asked for does, as far as any of them does."""
    asked = request.path.strip("/").split("/")
    routes = [
        (f"{route.method} {route.resource.canonical}", route.resource.canonical)
        for route in request.app.router.routes()
        if route.resource and route.method != "HEAD"
    ]
    alike = {shown: _alike(asked, path.strip("/").split("/")) for shown, path in routes}
    most = max(alike.values(), default=0)
    return [shown for shown, count in alike.items() if count == most][:MOST_SHOWN]


def _alike(asked: list[str], known: list[str]) -> int:
    """How many parts at the beginning are the same; a part in braces stands for any."""
    count = 0
    for mine, theirs in zip(asked, known, strict=False):
        if mine != theirs and not theirs.startswith("{"):
            break
        count += 1
    return count
