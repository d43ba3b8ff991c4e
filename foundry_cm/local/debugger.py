"""A module under a debugger: debugpy, which an editor attaches to, or pdb in the terminal of `cm`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.addresses import LOOPBACK, bind, free_port
from foundry_cm.local.environment import needed
from foundry_cm.local.replica import Launch

# Where editors look for debugpy by default.
DEBUG_PORT = 5678
# Whoever stands at a line is not hurried; timers cannot wait for ever.
NO_HURRY_SECONDS = 30 * 24 * 3600.0
_PYTHON = re.compile(r"pythonw?(\d+(\.\d+)?)?(\.exe)?")
LaunchOf = Callable[[int, dict[str, str], Path], Launch]
# A cluster of options of Python, up to the one that takes an argument.
_OPTIONS = re.compile(r"-(?P<flags>[^-cmWX]*)(?P<last>[cmWX])(?P<argument>.*)")
_LOOK_SECONDS, _AGAIN_SECONDS = 0.05, 0.5


def python_command(command: Sequence[str], folder: Path) -> tuple[list[str], list[str]]:
    """A command that runs Python, cut behind the interpreter: `uv run python` and `-u app.py`.

    A script that names its interpreter in its first line counts as one. Raises `CmError` for any
    other command.
    """
    words = list(command)
    for number, word in enumerate(words):
        if _PYTHON.fullmatch(Path(word).name):
            return words[: number + 1], words[number + 1 :]
    script = shutil.which(words[0], path=None) or str(folder / words[0])
    with contextlib.suppress(OSError, UnicodeDecodeError, IndexError, ValueError):
        first = Path(script).read_bytes()[:500].splitlines()[0].decode()
        interpreter = shlex.split(first[2:]) if first.startswith("#!") else []
        if interpreter and _PYTHON.fullmatch(Path(interpreter[-1]).name):
            return interpreter, [script, *words[1:]]
    raise CmError(
        f"Only Python runs under debugpy and pdb, and this command names none: {shlex.join(words)}",
        fix="Name the interpreter, such as: -- uv run python app.py. Another language has a debugger "
        "of its own, without --debug: cm serve -- node --inspect app.mjs",
        code="NotPython",
        exit_code=USAGE,
    )


def under_debugpy(command: Sequence[str], folder: Path, port: int, *, wait: bool) -> list[str]:
    """The command that runs a Python program under debugpy, on loopback alone."""
    python, rest = python_command(command, folder)
    options: list[str] = []
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word, match = rest[0], _OPTIONS.fullmatch(rest[0])
        if match and match["last"] in "cm":
            options += [f"-{match['flags']}"] if match["flags"] else []
            rest = [f"-{match['last']}", *filter(None, [match["argument"]]), *rest[1:]]
            break
        separate = (
            bool(match) and not match["argument"] if match else word == "--check-hash-based-pycs"
        )
        taken = 2 if separate else 1
        options, rest = options + rest[:taken], rest[taken:]
    listening = ["--listen", f"{LOOPBACK}:{port}", *(["--wait-for-client"] if wait else [])]
    # What Python has frozen into itself has no lines to stop at, and debugpy warns of it.
    frozen = ["-X", "frozen_modules=off"]
    return [*python, *options, *frozen, "-m", "debugpy", *listening, *rest]


def check_debugpy(command: Sequence[str], folder: Path) -> None:
    """Raise `CmError` where the Python of a command cannot import debugpy."""
    python, _ = python_command(command, folder)
    try:
        done = subprocess.run(
            [*python, "-c", "import debugpy"],
            cwd=folder,
            env=needed(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return  # the start says why
    if done.returncode:
        raise CmError(
            f"--debug needs debugpy, and {shlex.join(python)} cannot import it",
            fix='pip install "debugpy>=1.8.22,<2", where the module itself is installed',
            code="MissingExtra",
            exit_code=USAGE,
        )


def in_terminal(command: Sequence[str], folder: Path) -> LaunchOf:
    """What starts a replica that has the terminal of `cm`, where pdb asks and answers.

    Raises `CmError` where the command is no Python.
    """
    python_command(command, folder)
    return lambda _index, env, _files: Launch(list(command), needed() | env, terminal=True)


def chosen_port(asked: int | None) -> int:
    """The port that an editor attaches to: as asked, the usual one, or a free one where that is taken."""
    return asked or free_port(DEBUG_PORT) or _any_port()


class Debugger:
    """debugpy in a replica, and the port that an editor attaches to; an async context manager.

    That port is open while the module starts and starts again: an editor that attaches early waits
    until the debugger of the process listens.
    Raises `CmError` where the command is no Python, or has no debugpy.
    """

    def __init__(self, command: Sequence[str], folder: Path, port: int, *, wait: bool) -> None:
        check_debugpy(command, folder)
        self.port = port
        self.wait = wait
        self._command, self._folder = list(command), folder
        self._inner = 0
        self._ports: set[int] = set()
        self._words: list[str] = []
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    def launch(self, _index: int, env: dict[str, str], _files: Path) -> Launch:
        """How the replica is started; see `site.Run.launch`."""
        return Launch(self._words, needed() | env, before=self._renew, after=self._ended)

    def _renew(self) -> None:
        # A port for each start: the debugger of the process before may hold its own for a while.
        self._inner = _any_port()
        self._ports.add(self._inner)
        self._words[:] = under_debugpy(self._command, self._folder, self._inner, wait=self.wait)

    def _ended(self) -> None:
        self._inner = 0

    async def __aenter__(self) -> Debugger:
        self._server = await asyncio.start_server(self._visit, sock=bind(self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        _end_adapters(self._ports)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._visits.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._lead(reader, writer)
        finally:
            self._visits.discard(task)
            writer.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who attaches anew at the end of a session may be faster than the end of the process is seen.
        await asyncio.sleep(_AGAIN_SECONDS)
        while True:
            with contextlib.suppress(ConnectionError):
                if self._inner:
                    inner_reader, inner_writer = await asyncio.open_connection(
                        LOOPBACK, self._inner
                    )
                    break
            await asyncio.sleep(_LOOK_SECONDS)
            if reader.at_eof():
                return
        ways = [
            asyncio.create_task(_pass_on(reader, inner_writer)),
            asyncio.create_task(_pass_on(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            inner_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()


def _end_adapters(ports: set[int]) -> None:
    """End what debugpy puts between a module and an editor: it leaves the session of the module."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "--for-server" in words and "--port" in words:
                port = words[words.index("--port") + 1]
                if port.isdecimal() and int(port) in ports:
                    process.kill()


def _any_port() -> int:
    with bind(0) as listener:
        return int(listener.getsockname()[1])
