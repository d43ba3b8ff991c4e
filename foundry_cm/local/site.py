"""What a module runs in, whatever its mode: mounted files, TLS servers on loopback, and replicas."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from foundry_cm.errors import CmError
from foundry_cm.local.addresses import (
    LOOPBACK,
    bind,
    bind_all,
    bind_next,
    certifiable,
    loopback_addresses,
)
from foundry_cm.local.authorities import AUTHORITIES, named_authorities
from foundry_cm.local.environment import check_free, needed, passed_on
from foundry_cm.local.guard import Guard
from foundry_cm.local.mounts import Mounts
from foundry_cm.local.replica import STOP_SECONDS, Launch, Replica
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.sources.declared import LocalSources
from foundry_cm.local.sources.standin import StandIn
from foundry_cm.module.resources import FILE as RESOURCES

__all__ = ["LOOPBACK", "OnDeath", "Run", "Site", "bind", "is_pipeline"]


class _OfClients(logging.Filter):
    """Leaves out requests that are no HTTP: they are answered with 400, and are no fault of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return not (kind and issubclass(kind, HttpProcessingError))


# What the servers report of themselves.
LOG = logging.getLogger("foundry_cm.server")
LOG.addFilter(_OfClients())

OnDeath = Callable[[int, CmError, float | None], None]


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a module is run, in either mode."""

    command: list[str]
    folder: Path
    # Variables of the module besides those of Foundry: as code gives them, and as a person passes them
    # on (see `environment.passed_on`).
    env: dict[str, str] = field(default_factory=dict)
    passed: Sequence[str] = ()
    # The RIDs of those inputs that lie in the real Foundry, by their aliases.
    remote: Mapping[str, str] = field(default_factory=dict)
    # The name under which the module reaches this machine's loopback: another one in some containers.
    host: str = "localhost"
    # Whether its replicas share a cache and locks: in Foundry a feature that is on or off for a module.
    scratch: bool = False
    # Given the replica's number, its variables and the folder of its files; None: `command`, as it is.
    launch: Callable[[int, dict[str, str], Path], Launch] | None = None
    # Its Sources, where a test gives them in place of `sources.local.toml`, and those to record.
    sources: Mapping[str, Any] | None = None
    record: Sequence[str] = ()


class Site:
    """The servers, files and replicas of one run of a module; `close` leaves nothing of them."""

    def __init__(self, run: Run, reporter: Reporter) -> None:
        self.run = run
        self.reporter = reporter
        self.replicas: list[Replica] = []
        self.guard = Guard()
        self._servers: list[web.AppRunner] = []
        self._folder: Path | None = None

    async def open(self) -> Mounts:
        """Make the folder of the mounted files and the certificate of the servers, and stand in for Sources.

        Raises `CmError` for Sources that cannot be used.
        """
        run = self.run
        sources = LocalSources.read(run.folder, run.sources, run.record)
        passed = run.env | passed_on(run.passed)
        # Files of authorities reach the module inside those that are made for it.
        named = named_authorities(passed)
        self._passed = {name: value for name, value in passed.items() if name not in AUTHORITIES}
        self.guard.start()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="cm-"))
            self.guard.folder(self._folder)
            # Private as a whole; what is inside is readable, since a container has a user of its own.
            self.mounts = Mounts.create(self._folder / "mounts", sources, named)
        except OSError as error:
            raise CmError(
                f"The files that a module finds mounted cannot be written: {error.strerror}",
                where=tempfile.gettempdir(),
                fix="Free some space there, or set TMPDIR to another folder.",
                code="CannotWrite",
            ) from None
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._addresses = loopback_addresses()
        self._names = certifiable("localhost", *self._addresses, socket.gethostname(), run.host)
        self.mounts.authority.issue_cert(*self._names).configure_cert(self._tls)
        await self._stand_in()
        return self.mounts

    async def listen(
        self,
        app: web.Application,
        port: int = 0,
        *,
        or_next: bool = False,
        handler_cancellation: bool = False,
    ) -> str:
        """Serve an application over TLS on loopback; gives its host and port, as the module knows it.

        `or_next`: where another program has the port, the next free one is taken. Else a `CmError` is
        raised. `handler_cancellation`: a call ends when its caller hangs up.
        """
        find = bind_next if or_next else bind_all
        listeners = find(self._addresses, port)
        await self._serve(app, listeners, self._tls, handler_cancellation)
        return f"{self.run.host}:{listeners[0].getsockname()[1]}"

    async def _stand_in(self) -> None:
        """Answer in place of the Sources that name something on this machine.

        Raises `CmError` for answers that cannot be used.
        """
        sources = self.mounts.sources
        if sources is None:
            return
        for name, source in sources.stand_in.items():
            recorded = name in self.run.record
            there = StandIn(name, source, self.run.folder, self.reporter, recorded=recorded)
            there.check()
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.mounts.outside.issue_cert(*self._names).configure_cert(tls)
            listeners = bind_all(self._addresses, 0)
            await self._serve(there.app(), listeners, tls, True)
            port = listeners[0].getsockname()[1]
            self.reporter.standing_in(str(there))
            sources.move(name, f"https://{self.run.host}:{port}{there.base}")

    async def listen_plainly(self, app: web.Application, port: int) -> None:
        """Serve an application without TLS on loopback; raises `CmError` as `listen` does."""
        await self._serve(app, [bind(port)], None, True)

    async def _serve(
        self,
        app: web.Application,
        listeners: list[socket.socket],
        tls: ssl.SSLContext | None,
        handler_cancellation: bool,
    ) -> None:
        server = web.AppRunner(
            app,
            handler_cancellation=handler_cancellation,
            access_log=None,
            shutdown_timeout=0.1,
            logger=LOG,
        )
        await server.setup()
        self._servers.append(server)
        for listener in listeners:
            await web.SockSite(server, listener, ssl_context=tls).start()

    def start_replica(
        self,
        variables: dict[str, str],
        on_death: OnDeath,
        *,
        restart: bool = False,
        on_start: Callable[[], None] = lambda: None,
        declares: bool = False,
    ) -> Replica:
        """Start one more replica with these variables; see `Replica`."""
        check_free(self._passed, variables)
        index, env = len(self.replicas), {**self._passed, **variables}
        launch = Launch(self.run.command, {**needed(), **env})
        if self.run.launch:
            launch = self.run.launch(index, env, self.mounts.root)
            launch.guard(self.guard)
        replica = Replica(
            index,
            launch,
            self.run.folder,
            restart=restart,
            on_lines=self.reporter.printed,
            on_death=on_death,
            on_start=on_start,
            declares=declares,
            guard=self.guard,
        )
        self.replicas.append(replica)
        replica.start()
        return replica

    async def stop_replicas(self, seconds: float = STOP_SECONDS) -> None:
        """End every replica within so many seconds."""
        await asyncio.gather(*(replica.stop(seconds) for replica in self.replicas))

    async def close(self) -> None:
        """End the replicas and the servers, and remove the folder."""
        await self.stop_replicas()
        for server in self._servers:
            await server.cleanup()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.guard.release()


def is_pipeline(folder: Path) -> bool:
    """Whether the module in a folder is known to be a pipeline: it names its inputs and outputs."""
    try:
        told = json.loads((folder / RESOURCES).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and {"inputs", "outputs"} <= told.keys()
