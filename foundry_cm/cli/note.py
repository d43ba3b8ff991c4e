"""The note that a running `cm serve` leaves in the module's folder, and whether to believe one.

A cloned repository may bring a note along. Only one that this user's own server wrote is followed:
a private file, a process of this user that began when the note says and that listens on loopback, and
an answer that knows the secret of that start.
"""

from __future__ import annotations

import contextlib
import hmac
import http.client
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil

from foundry_cm.cli.console import say
from foundry_cm.errors import CmError
from foundry_cm.local.panel.access import PROOF_PATH, proof
from foundry_cm.local.site import LOOPBACK
from foundry_cm.module.files import check_no_link, make_ignored, remove_ignored, replace_text

FOLDER, FILE = ".cm", "serve.json"
_PANEL = re.compile(r"http://127\.0\.0\.1:(?P<port>\d{1,5})")
_MOST_BYTES = 4096
_ASK_SECONDS = 5.0


class Note(msgspec.Struct, frozen=True):
    """Where the panel of a server is, which process that is, and what it alone knows."""

    panel: str
    pid: int
    started: float
    secret: str


@contextlib.contextmanager
def announced(
    folder: Path, panel: str, secret: str, if_killed: Callable[[Path, str], None]
) -> Iterator[None]:
    """Leave a note of the running server in the module's folder while the block runs.

    Where another server has left one, that one stays: `cm call` goes to the first. `if_killed` is told
    of the note and its text, and sees to it when nobody else can.
    """
    place = folder / FOLDER
    check_no_link(folder, place / FILE)
    if other := running_panel(folder):
        say(f"Another cm serve already runs in this folder, at {other}; cm call goes to that one")
        yield
        return
    me = psutil.Process()
    note = msgspec.json.encode(Note(panel, me.pid, me.create_time(), secret)).decode()
    try:
        if_killed(place / FILE, note)
        make_ignored(place)
        replace_text(place / FILE, note, mode=0o600)
    except OSError as error:
        say(f"cm call will not find this server: {FOLDER}/{FILE}: {error.strerror}", "yellow")
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if (place / FILE).read_text(encoding="utf-8") == note:
                (place / FILE).unlink()
                remove_ignored(place)


def running_panel(folder: Path) -> str | None:
    """The address of the panel of the `cm serve` that runs the module in a folder, if one does.

    Raises `CmError` where that server is there and does not answer.
    """
    note = _read(folder / FOLDER)
    match = _PANEL.fullmatch(note.panel) if note else None
    if note is None or match is None or not _is_ours(note, int(match["port"])):
        return None
    nonce = secrets.token_urlsafe(16)
    try:
        answer = _ask(int(match["port"]), nonce)
    except TimeoutError:
        raise CmError(
            f"The running cm serve does not answer within {_ASK_SECONDS:g} s",
            where=note.panel,
            fix="Wait for it, or restart it: cm serve",
        ) from None
    except (OSError, http.client.HTTPException, UnicodeDecodeError):
        return None
    return note.panel if hmac.compare_digest(answer, proof(note.secret, nonce).encode()) else None


def _read(folder: Path) -> Note | None:
    """The note in a folder where nobody else can have written it, or None."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if not _is_private(os.lstat(folder), stat.S_IFDIR):
            return None
        opened = os.open(folder / FILE, flags)
        with os.fdopen(opened, "rb") as file:
            private = _is_private(os.fstat(opened), stat.S_IFREG)
            return msgspec.json.decode(file.read(_MOST_BYTES), type=Note) if private else None
    except (OSError, ValueError, RecursionError):
        return None


def _is_private(found: os.stat_result, kind: int) -> bool:
    if stat.S_IFMT(found.st_mode) != kind:
        return False
    # Windows gives a user's files no such mode.
    return sys.platform == "win32" or (
        found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
    )


def _is_ours(note: Note, port: int) -> bool:
    """Whether the process of a note is this user's, began when the note says, and has that port.

    A process that has the number of one that was killed began at another time.
    """
    try:
        process = psutil.Process(note.pid)
        return (
            process.create_time() == note.started
            and process.username() == psutil.Process().username()
            and any(
                each.status == psutil.CONN_LISTEN and each.laddr.port == port
                for each in process.net_connections(kind="tcp4")
            )
        )
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def _ask(port: int, nonce: str) -> bytes:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", f"{PROOF_PATH}?nonce={nonce}")
        return connection.getresponse().read(_MOST_BYTES)
    finally:
        connection.close()
