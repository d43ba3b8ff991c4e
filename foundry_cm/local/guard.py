"""A small process that outlives a killed `cm`: it ends the module and removes what `cm` has left.

Nobody can do anything about SIGKILL. But the pipe from `cm` to this process closes with `cm`, whatever
ended it; then each session that was started for a replica is killed, and files and folders go.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

_SYSTEM_HAS_SESSIONS = sys.platform != "win32"


class Guard:
    """The near end of the pipe; what is told here is undone when this process ends without `release`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process at the far end, in a session that no signal to ours reaches."""
        if _SYSTEM_HAS_SESSIONS:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )

    def folder(self, path: Path) -> None:
        """A folder that is removed with all that is in it."""
        self._tell(folder=str(path.absolute()))

    def note(self, path: Path, text: str) -> None:
        """A file that is removed as long as it has this text, and its folder where that is then empty."""
        self._tell(note=str(path.absolute()), text=text)

    def session(self, leader: int) -> None:
        """A session of processes that is killed."""
        self._tell(session=leader)

    def ended(self, leader: int) -> None:
        """A session has ended: its number may soon be another's."""
        self._tell(ended=leader)

    def command(self, argv: list[str], env: dict[str, str]) -> None:
        """A command that is run, such as one that removes a container."""
        self._tell(command=argv, env=env)

    def release(self) -> None:
        """All is undone already; the process at the far end ends."""
        self._tell(released=True)
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
        self._process = None

    def _tell(self, **what: Any) -> None:
        if self._process and self._process.stdin:
            # Without it `cm` goes on: only a SIGKILL would leave something.
            with contextlib.suppress(OSError):
                self._process.stdin.write(json.dumps(what).encode() + b"\n")
                self._process.stdin.flush()


def kill_session(leader: int) -> None:
    """Kill a process that leads a session, and all that are still in that session."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    # Those that made themselves a group of their own can be found on Linux alone.
    for member in _members(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def _members(leader: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    found.append(int(folder.name))
    return found


def watch(pipe: IO[bytes]) -> None:
    """Take note of what is told, and undo it when the pipe closes."""
    told: list[dict[str, Any]] = []
    for line in pipe:
        # A kill in the middle of a line leaves a part of it, and what was told before it counts.
        if not line.endswith(b"\n"):
            break
        what = json.loads(line)
        if "released" in what:
            return
        if "ended" in what:
            told = [each for each in told if each.get("session") != what["ended"]]
        else:
            told.append(what)
    # Processes first: they could write what is removed after them.
    for each in sorted(told, key=lambda each: "session" not in each):
        with contextlib.suppress(OSError, ValueError):
            _undo(each)


def _undo(what: dict[str, Any]) -> None:
    if "session" in what:
        kill_session(what["session"])
    elif "folder" in what:
        shutil.rmtree(what["folder"], ignore_errors=True)
    elif "command" in what:
        subprocess.run(what["command"], env=what["env"], capture_output=True, check=False)
    elif "note" in what:
        _remove_note(Path(what["note"]), what["text"])


def _remove_note(note: Path, text: str) -> None:
    # As `files.remove_ignored`, which this program cannot import: it runs by itself, without site-packages.
    if note.read_text(encoding="utf-8") != text:
        return
    note.unlink()
    ignore = note.with_name(".gitignore")
    if list(note.parent.iterdir()) == [ignore]:
        ignore.unlink()
    note.parent.rmdir()


if __name__ == "__main__" and sys.platform != "win32":
    # A terminal that is closed, and Ctrl-C, are the business of `cm`.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.stdin.buffer)
