"""Faults on demand: what a real platform does on a bad day, at a chosen moment.

A fault is written `KIND[=VALUE][@[PHASE-]POINT][#NUMBER]`:

- KIND: `latency=SECONDS`, `403` (a role that the module lacks), `429`, `503`, `reset` (the
  connection), `expire-token`, `fail` (an internal error, `fail@commit` is a commit that fails),
  `kill` (the module, by SIGKILL);
- POINT: one of the names in `POINTS`; without one the fault hits any call;
- PHASE: `before` (the call arrived, nothing happened), `mid` (half of the body has passed) or
  `after` (it happened, the answer is not sent); without one it is `before`;
- NUMBER: only that occurrence, counted from 1. Without a number, `latency` hits every call and
  the others hit the first one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.platform.errors import ApiError

KINDS = ("latency", "403", "429", "503", "reset", "expire-token", "fail", "kill")
POINTS = (
    "list",
    "read",
    "history",
    "open",
    "upload",
    "checkpoint",
    "commit",
    "abort",
    "publish",
    "records",
    "offsets",
    "apply",
    "cache",
    "lock",
)
GRAMMAR = re.compile(
    r"(?P<kind>[a-z0-9-]+)(=(?P<value>[0-9.]+))?(@((?P<phase>before|mid|after)-)?(?P<point>[a-z]+))?"
    r"(#(?P<number>[0-9]+))?"
)
CHECKPOINTS = ("_checkpoint/", "_items/")
"""Where a rendered pipeline writes down how far it has come."""

RETRY_AFTER_SECONDS = 1

Callback = Callable[[], Awaitable[None]]


@dataclass
class Fault:
    """One fault and how often its moment has come."""

    kind: str
    value: float | None
    phase: str
    point: str | None
    number: int | None
    seen: int = 0

    @property
    def has_struck(self) -> bool:
        """Whether a call has come to its point, as often as it waits for."""
        return self.seen >= (self.number or 1)

    def due(self, phase: str, point: str) -> bool:
        """Whether it strikes now; counts the occurrence."""
        if phase != self.phase or self.point not in (None, point):
            return False
        self.seen += 1
        if self.number is None:
            return self.kind == "latency" or self.seen == 1
        return self.seen == self.number


def parse_fault(text: str) -> Fault:
    """Reads a fault as written on the command line; CmError for one that means nothing."""
    match = GRAMMAR.fullmatch(text)
    kind = match["kind"] if match else text.partition("@")[0].partition("=")[0]
    if not match or kind not in KINDS:
        fix = (
            near_miss(kind, KINDS)
            if kind not in KINDS
            else "Write KIND[=VALUE][@[PHASE-]POINT][#NUMBER]."
        )
        raise CmError(f'"{text}" is not a fault.', fix=fix, code="UnknownFault", exit_code=USAGE)
    point = match["point"]
    if point is not None and point not in POINTS:
        raise CmError(
            f'"{point}" is not a point where a fault can strike.',
            fix=near_miss(point, POINTS),
            code="UnknownFault",
            exit_code=USAGE,
        )
    if (kind == "latency") != (match["value"] is not None):
        raise CmError(
            f'"{text}": only latency takes a value, and it needs one.',
            fix="Write latency=SECONDS.",
            code="UnknownFault",
            exit_code=USAGE,
        )
    value = float(match["value"]) if match["value"] else None
    number = int(match["number"]) if match["number"] else None
    return Fault(kind, value, match["phase"] or "before", point, number)


class Faults:
    """The faults of a run; `on_kill` and `on_expire` are set by whoever runs the module."""

    def __init__(self, specs: Iterable[str] = ()) -> None:
        self._asked = list(specs)
        self.faults = [parse_fault(spec) for spec in self._asked]
        self.struck: list[str] = []
        self.on_kill: Callback | None = None
        self.on_expire: Callback | None = None

    @property
    def idle(self) -> list[str]:
        """Those that never struck, as they were asked for."""
        pairs = zip(self._asked, self.faults, strict=True)
        return [asked for asked, fault in pairs if not fault.has_struck]

    async def at(self, request: web.Request, phase: str) -> None:
        """Called by the middleware and the handlers as a call goes through its phases."""
        point = point_of(request)
        for fault in self.faults:
            if fault.due(phase, point):
                await self._strike(fault, request, f"{phase}-{point}")

    async def _strike(self, fault: Fault, request: web.Request, where: str) -> None:
        if fault.kind != "latency":
            self.struck.append(f"{fault.kind}@{where}")
        if fault.kind == "latency":
            await asyncio.sleep(fault.value or 0)
        elif fault.kind in ("429", "503"):
            # The platform asks for patience.
            waits = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise ApiError("Default:Qos", status=int(fault.kind), headers=waits)
        elif fault.kind == "403":
            raise ApiError("PermissionDenied")
        elif fault.kind == "fail":
            raise ApiError("Default:Internal", status=500)
        elif fault.kind == "reset":
            reset(request)
        elif fault.kind == "expire-token" and self.on_expire:
            await self.on_expire()
            raise ApiError("Unauthorized", status=401)
        elif fault.kind == "kill" and self.on_kill:
            await self.on_kill()
            reset(request)


def reset(request: web.Request) -> None:
    """Cuts the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("fault")


def point_of(request: web.Request) -> str:
    """The point a route belongs to, from its name; an upload of a checkpoint is its own."""
    name = (request.match_info.route.name or "").partition("-")[0]
    if name == "upload" and request.match_info.get("path", "").startswith(CHECKPOINTS):
        return "checkpoint"
    return name


FAULTS = web.AppKey("faults", Faults)
