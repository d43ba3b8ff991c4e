"""One replica of a module: a process that is started, watched, and started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from foundry_cm.errors import CmError
from foundry_cm.module import tracebacks

STOP_SECONDS = 2.0
_FIRST_DELAY, _LONGEST_DELAY, _STABLE_SECONDS = 1.0, 30.0, 60.0
_KEPT_LINES = 200
_LONGEST_LINE = 65536


@dataclass(frozen=True)
class Launch:
    """How a replica's process is started: the command, and what surrounds it (a container needs it).

    `before` runs before each start and may raise `CmError`; `after` runs once the process has ended.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None


class Replica:
    """Runs a command as one replica.

    `on_line` gets each line of its output; `on_start` hears of each start; `on_death` gets an error
    that says why it died, once for each death that nobody asked for. `declares`: it is expected to
    declare functions.
    """

    def __init__(
        self,
        index: int,
        launch: Launch,
        folder: Path,
        *,
        restart: bool,
        on_line: Callable[[int, str], None],
        on_death: Callable[[int, CmError, float | None], None],
        on_start: Callable[[], None] = lambda: None,
        declares: bool = True,
    ) -> None:
        self.index = index
        self.responsive = False
        self.declared = False
        self.workers: set[int] = set()
        self.failure: CmError | None = None
        self._launch = launch
        self._folder = folder
        self._restart = restart
        self._on_line = on_line
        self._on_death = on_death
        self._on_start = on_start
        self._declares = declares
        self._process: subprocess.Popen[bytes] | None = None
        self._output: deque[str] = deque(maxlen=_KEPT_LINES)
        self._supervisor: asyncio.Task[None] | None = None
        self._stopping = False
        self._killed = False

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The id of its process, where one was started."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """With what its last process ended; None while it runs, negative for a signal."""
        return self._process.poll() if self._process else None

    @property
    def state(self) -> str:
        """`starting`, `responsive`, `restarting` or `stopped`."""
        if self.alive:
            return "responsive" if self.responsive else "starting"
        return "stopped" if self._stopping or not self._restart else "restarting"

    def start(self) -> None:
        """Start the process, and the task that watches over it.

        Raises `CmError` where the command cannot be started at all.
        """
        self._stopping = False
        self.failure = None
        self._spawn()
        self._supervisor = asyncio.create_task(self._supervise())

    def kill(self) -> None:
        """End the process without warning, as a node that goes away does; another starts at once."""
        self._killed = True
        self._kill_group()

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the process and all its children within so many seconds: asked first, then killed."""
        self._stopping = True
        if self._supervisor is None:
            return
        if self._process and self.alive:
            self._process.send_signal(signal.SIGTERM)
        else:
            self._supervisor.cancel()
        await asyncio.wait({self._supervisor}, timeout=seconds)
        self._kill_group()
        await asyncio.wait({self._supervisor})
        self._supervisor = None

    def early_traceback(self) -> tracebacks.Failure | None:
        """A traceback printed before the functions were declared: the SDK started all the same."""
        text = "\n".join(self._output)
        return tracebacks.read(text) if tracebacks.is_in(text) else None

    @property
    def debugged(self) -> bool:
        """Whether a debugger is loaded in its process, where a person may stand at a line for long."""
        words = list(self._launch.command)
        # Elsewhere psutil cannot tell what a process has loaded.
        if sys.platform == "linux" and self._process:
            with contextlib.suppress(psutil.Error):
                maps = psutil.Process(self._process.pid).memory_maps()
                words += [each.path for each in maps]
        return any("debugpy" in word or "pydevd" in word for word in words)

    def live_workers(self) -> set[int]:
        """The process ids of its children that run the same command: the SDK's process pool."""
        try:
            parent = psutil.Process(self._process.pid) if self._process else None
            if parent is None:
                return set()
            command = parent.cmdline()
            return {child.pid for child in parent.children() if _same(child, command)}
        except psutil.Error:
            return set()

    def _spawn(self) -> None:
        self.responsive = self._killed = False
        self.declared = not self._declares
        self.workers = set()
        self._output.clear()
        self._on_start()
        self._launch.before()
        try:
            # A session of its own: Ctrl-C in the terminal is ours to pass on, to all its children.
            self._process = subprocess.Popen(
                list(self._launch.command),
                cwd=self._folder,
                env={**os.environ, **self._launch.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise CmError(
                f"The module cannot be started: {self._launch.command[0]}: {error.strerror}",
                where=str(self._folder),
                fix="Give the command that runs it after two dashes, such as: -- python src/app.py",
                code="ModuleNotStarted",
            ) from None

    async def _supervise(self) -> None:
        delay = _FIRST_DELAY
        while True:
            began = time.monotonic()
            await self._wait_for_exit()
            self._kill_group()
            await asyncio.to_thread(self._launch.after)
            self.responsive = False
            if self._stopping:
                return
            if not self._killed:
                self.failure = self._explain_death()
                if time.monotonic() - began > _STABLE_SECONDS:
                    delay = _FIRST_DELAY
                self._on_death(self.index, self.failure, delay if self._restart else None)
                if not self._restart:
                    return
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
            self._spawn()

    async def _wait_for_exit(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        reader = asyncio.create_task(self._read(process))
        await _exit_of(process).wait()
        # A child that outlives it may hold the pipe open, so the end of output is not awaited long.
        await asyncio.wait({reader}, timeout=0.3)
        reader.cancel()

    async def _read(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), process.stdout
        )
        line = _Line()
        try:
            while chunk := await stream.read(65536):
                first, *others = chunk.split(b"\n")
                line.add(first)
                for piece in others:
                    self._take(line.text())
                    line = _Line()
                    line.add(piece)
                # What is in the buffer comes without a wait, and calls must have their turn.
                await asyncio.sleep(0)
            if line.size:
                self._take(line.text())
        finally:
            transport.close()

    def _take(self, text: str) -> None:
        self._output.append(text)
        self._on_line(self.index, text)

    def _explain_death(self) -> CmError:
        code = self._process.returncode if self._process else None
        how = f"exited with code {code}"
        if code is not None and code < 0:
            how = f"was killed by {_signal_name(-code)}"
        text = "\n".join(self._output)
        when = "" if self.declared else " before it declared its functions"
        if tracebacks.is_in(text):
            failure = tracebacks.read(text)
            return CmError(
                f"The module {how}{when}: {failure.summary}",
                where=failure.where,
                details=failure.trimmed,
                code="ModuleDied",
            )
        last = [line for line in self._output if line.strip()][-5:]
        return CmError(
            f"The module {how}{when}" + (f": {last[-1]}" if last else " and printed nothing"),
            details="\n".join(f"  {line}" for line in last[:-1]) or None,
            # Only a program that came to its end without a failure lacks the line.
            fix=None
            if self.declared or code != 0
            else "Its last line must start the SDK: start_compute_module() or the template's start().",
            code="ModuleDied",
        )

    def _kill_group(self) -> None:
        """End whatever the process left behind in its session."""
        if self._process and sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


class _Line:
    """A line as it arrives; what is beyond its first 64 KiB is counted and not kept."""

    def __init__(self) -> None:
        self.size = 0
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.size += len(piece)
        self._kept += piece[: _LONGEST_LINE - len(self._kept)]

    def text(self) -> str:
        """The line, and how much of it is not shown."""
        text = self._kept.decode("utf-8", "replace").rstrip("\r")
        more = self.size - len(self._kept)
        return f"{text} ... ({more:,} bytes more)" if more else text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _exit_of(process: subprocess.Popen[bytes]) -> asyncio.Event:
    """An event that is set when the process has ended; asyncio's own waits for its pipes as well."""
    loop, exited = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(exited.set)

    threading.Thread(target=wait, daemon=True).start()
    return exited


def _same(child: psutil.Process, command: list[str]) -> bool:
    try:
        return child.cmdline() == command
    except psutil.Error:
        return False
