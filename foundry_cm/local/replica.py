"""One replica of a module: a process that is started, watched, and started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
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
from foundry_cm.local import deaths
from foundry_cm.local.guard import Guard, kill_session
from foundry_cm.module import tracebacks

STOP_SECONDS = 2.0
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 8.0
_KEPT_LINES = 200
_LONGEST_LINE = 65536
_BETWEEN_READS = 0.005
_STACK_TRIES = 40
# The main thread of a module with the SDK's default pool, and the three of `multiprocessing.pool.Pool`.
_POOL_THREADS = 4


@dataclass(frozen=True)
class Launch:
    """How a replica's process is started: the command, and what surrounds it (a container needs it).

    `env` are all its variables. `before` runs before each start and may raise `CmError`; `after` runs
    once the process has ended, and `guard` gets told what does that when nobody else can. `terminal`:
    it reads from and writes to the terminal of this process, and its output is not heard here. `process`
    finds the module's own process where that is no child of the command: docker's is its daemon's.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None
    guard: Callable[[Guard], None] = lambda _guard: None
    process: Callable[[], int | None] | None = None
    terminal: bool = False


class Replica:
    """Runs a command as one replica.

    `on_lines` gets the lines of its output; `on_start` hears of each start; `on_death` gets an error
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
        on_lines: Callable[[int, Sequence[str]], None],
        on_death: Callable[[int, CmError, float | None], None],
        on_start: Callable[[], None] = lambda: None,
        declares: bool = True,
        guard: Guard | None = None,
    ) -> None:
        self.index = index
        # Whether it is given work: it asked for some, and has had its time to declare its functions;
        # and whether its last process had come so far.
        self.responsive = self.served = False
        self.declared = False
        self.polls = 0
        self.starts = 0
        # When its process was started (`time.perf_counter`), and how long it took to ask for work.
        self.started_at = 0.0
        self.ready_seconds: float | None = None
        self.workers: set[int] = set()
        # How many threads it had of its own when the SDK forked its pool of workers.
        self.forked_threads = 0
        self.failure: CmError | None = None
        self._launch = launch
        self._folder = folder
        self._restart = restart
        self._on_lines = on_lines
        self._on_death = on_death
        self._on_start = on_start
        self._declares = declares
        self._guard = guard or Guard()
        self._process: subprocess.Popen[bytes] | None = None
        self._output: deque[str] = deque(maxlen=_KEPT_LINES)
        # What it prints of its stacks and after its end, which is no output of the module.
        self._hidden: list[str] | None = None
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

    def module_pid(self) -> int | None:
        """The id of the module's own process; in a container it is found by asking the engine."""
        return self._launch.process() if self._launch.process else self.pid

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

    @property
    def output(self) -> list[str]:
        """The last lines that it printed."""
        return list(self._output)

    def early_traceback(self) -> tracebacks.Failure | None:
        """What ended the module's own code before the functions were declared: the SDK started all the same."""
        return deaths.ending(self.output, self._launch.command, self._folder)

    async def stacks(self, *, again: bool = False) -> str:
        """What its Python processes are at; it is ended for that, and started `again` where that is asked.

        Python's faulthandler, which the local Foundry switches on, writes the stacks of all threads
        when a process is told to abort. Empty for other programs.
        """
        process, pool = self._process, self.live_workers()
        told = [each for each in self._python() if not pool or each.pid in pool]
        self._killed, self._stopping, self._hidden = again, not again, []
        for each in told:
            with contextlib.suppress(psutil.Error):
                if sys.platform == "linux":
                    each.rlimit(psutil.RLIMIT_CORE, (0, 0))
                each.send_signal(signal.SIGABRT)
        hidden = self._hidden
        for _ in range(_STACK_TRIES if told else 0):
            await asyncio.sleep(0.05)
            if not any(each.is_running() and each.status() != "zombie" for each in told):
                await asyncio.sleep(0.1)
                break
        if self._process is process:
            self._kill_group()
        return "\n".join(hidden)

    def threads_before_fork(self) -> int:
        """How many threads it has besides the main one and those of the SDK's pool; 0 without workers."""
        with contextlib.suppress(psutil.Error):
            if self.workers and self._process:
                return max(0, psutil.Process(self._process.pid).num_threads() - _POOL_THREADS)
        return 0

    def _python(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._process.pid) if self._process else None
            found = [parent, *parent.children(recursive=True)] if parent else []
            return [each for each in found if each.name().startswith("python")]
        except psutil.Error:
            return []

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
        self.polls = 0
        self.starts += 1
        self.ready_seconds = None
        self.workers = set()
        self._output.clear()
        self._hidden = None
        self._on_start()
        self._launch.before()
        self.started_at = time.perf_counter()
        try:
            # A session of its own: Ctrl-C in the terminal is ours to pass on, to all its children.
            self._process = subprocess.Popen(
                list(self._launch.command),
                cwd=self._folder,
                env=dict(self._launch.env),
                stdin=None if self._launch.terminal else subprocess.DEVNULL,
                stdout=None if self._launch.terminal else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise CmError(
                f"The module cannot be started: {self._launch.command[0]}: {error.strerror}",
                where=str(self._folder),
                fix="Give the command after two dashes, such as: -- python src/app.py",
                code="ModuleNotStarted",
            ) from None
        self._guard.session(self._process.pid)

    async def _supervise(self) -> None:
        delay = _FIRST_DELAY
        while True:
            await self._wait_for_exit()
            self._kill_group()
            if self._process:
                self._guard.ended(self._process.pid)
            await asyncio.to_thread(self._launch.after)
            self.served, self.responsive = self.responsive, False
            if self._stopping:
                return
            # One that has worked once is worth another try soon, however often it was killed.
            if self.served:
                delay = _FIRST_DELAY
            failure = None if self._killed else self._explain_death()
            while failure := failure or self._start_again():
                self.failure = failure
                self._on_death(self.index, failure, delay if self._restart else None)
                if not self._restart:
                    return
                await asyncio.sleep(delay)
                delay, failure = min(2 * delay, _LONGEST_DELAY), None

    def _start_again(self) -> CmError | None:
        """Start the process; gives why it cannot be started, such as a command that is gone meanwhile."""
        try:
            self._spawn()
        except CmError as error:
            return error
        return None

    async def _wait_for_exit(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdout is None:
            await _exit_of(process).wait()
            return
        reader = asyncio.create_task(self._read(process))
        await _exit_of(process).wait()
        # A child that outlives it may hold the pipe open, so the end of output is not awaited long.
        await asyncio.wait({reader}, timeout=0.3)
        reader.cancel()

    async def _read(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader(limit=2**17)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), process.stdout
        )
        line = _Line()
        try:
            while chunk := await stream.read(2**18):
                first, *others = chunk.split(b"\n")
                line.add(first)
                ended = []
                for piece in others:
                    ended.append(line.text())
                    line = _Line()
                    line.add(piece)
                self._take(ended)
                # Calls have their turn, and a module that prints without an end is read in large pieces.
                await asyncio.sleep(_BETWEEN_READS)
            if line.size:
                self._take([line.text()])
        finally:
            transport.close()

    def _take(self, texts: list[str]) -> None:
        shown = []
        for text in texts:
            if self._hidden is None and deaths.ORPHAN.fullmatch(text) and self._ends:
                # All that comes from here on is of workers whose pool is gone, and says only that.
                self._hidden = []
            if self._hidden is None:
                shown.append(text)
            else:
                self._hidden.append(text)
        self._output += shown
        if shown:
            self._on_lines(self.index, shown)

    @property
    def _ends(self) -> bool:
        # A process that is about to end has closed its pipes before it is seen to be gone.
        return self._stopping or self._killed or not self.alive

    def _explain_death(self) -> CmError:
        status = self._process.returncode if self._process else None
        return deaths.death(
            status, self.output, self._launch.command, self._folder, declared=self.declared
        )

    def _kill_group(self) -> None:
        """End whatever the process left behind in its session."""
        if self._process and sys.platform != "win32":
            kill_session(self._process.pid)


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
