"""What a module runs in, whatever its mode: mounted files, TLS servers on loopback, and replicas."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.mounts import Mounts
from foundry_cm.local.replica import STOP_SECONDS, Launch, Replica
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.sources import LocalSources
from foundry_cm.module.resources import FILE as RESOURCES

LOOPBACK = "127.0.0.1"


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
    env: dict[str, str] = field(default_factory=dict)
    # The name under which the module reaches this machine's loopback: another one in some containers.
    host: str = "localhost"
    # Given the replica's number, its variables and the folder of its files; None: `command`, as it is.
    launch: Callable[[int, dict[str, str], Path], Launch] | None = None


class Site:
    """The servers, files and replicas of one run of a module; `close` leaves nothing of them."""

    def __init__(self, run: Run, reporter: Reporter) -> None:
        self.run = run
        self.reporter = reporter
        self.replicas: list[Replica] = []
        self._servers: list[web.AppRunner] = []
        self._folder: Path | None = None

    def open(self) -> Mounts:
        """Make the folder of the mounted files, and the certificate that the servers show.

        Raises `CmError` for Sources that cannot be used.
        """
        sources = LocalSources.read(self.run.folder)
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="cm-"))
            # Private as a whole; what is inside is readable, since a container has a user of its own.
            self.mounts = Mounts.create(self._folder / "mounts", sources)
        except OSError as error:
            raise CmError(
                f"The files that a module finds mounted cannot be written: {error.strerror}",
                where=tempfile.gettempdir(),
                fix="Free some space there, or set TMPDIR to another folder.",
                code="CannotWrite",
            ) from None
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        names = ("localhost", LOOPBACK, self.run.host)
        self.mounts.authority.issue_cert(*names).configure_cert(self._tls)
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
        server = web.AppRunner(
            app,
            handler_cancellation=handler_cancellation,
            access_log=None,
            shutdown_timeout=0.1,
            logger=LOG,
        )
        await server.setup()
        self._servers.append(server)
        listener = bind_next(port) if or_next else bind(port)
        await web.SockSite(server, listener, ssl_context=self._tls).start()
        return f"{self.run.host}:{listener.getsockname()[1]}"

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
        index, env = len(self.replicas), {**self.run.env, **variables}
        launch = Launch(self.run.command, env)
        if self.run.launch:
            launch = self.run.launch(index, env, self.mounts.root)
        replica = Replica(
            index,
            launch,
            self.run.folder,
            restart=restart,
            on_line=self.reporter.line,
            on_death=on_death,
            on_start=on_start,
            declares=declares,
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


def bind(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes any free one.

    Raises `CmError` where another program has the port.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        # Of two that bind a port at the same time, only one can listen.
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CmError(
            f"Port {port} on {LOOPBACK} is not free: {error.strerror}",
            fix="Leave the option away, and a free port is taken.",
            code="PortTaken",
            exit_code=USAGE,
        ) from None
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def bind_next(port: int) -> socket.socket:
    """A listening socket on that port, or on the next one that is free."""
    for number in range(port, min(port + 100, 65536)):
        with contextlib.suppress(CmError):
            return bind(number)
    return bind(0)


def is_pipeline(folder: Path) -> bool:
    """Whether the module in a folder is known to be a pipeline: it names its inputs and outputs."""
    try:
        told = json.loads((folder / RESOURCES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and {"inputs", "outputs"} <= told.keys()
