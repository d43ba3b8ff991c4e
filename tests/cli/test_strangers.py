"""What a cloned repository, a web page and another program on this machine can make of `cm serve`."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from typer import BadParameter

from foundry_cm.cli.note import running_panel
from foundry_cm.cli.options import finite
from tests.cli.conftest import Server, serving
from tests.conftest import UNIX, git

SEARCH = '{"partition": "pumps", "query": "gear", "limit": 1}'
INVOKE = "/api/functions/search/invoke"


@pytest.fixture(scope="module")
def server(search_module: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests here; they leave it running."""
    folder = shutil.copytree(search_module, tmp_path_factory.mktemp("strangers") / "module")
    with serving(folder) as running:
        yield running
        assert "Traceback" not in running.output


def send(server: Server, raw: str | bytes) -> int:
    """The status of the answer to a request as it is written on the wire."""
    address = urlsplit(server.panel)
    with socket.create_connection((address.hostname, address.port), timeout=20) as wire:
        wire.sendall(raw if isinstance(raw, bytes) else raw.encode("latin-1"))
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    return int(answer.split(b" ", 2)[1])


def request(
    server: Server, *headers: str, body: str = SEARCH, path: str = INVOKE, host: str | None = None
) -> str:
    """A call of `search` with these headers."""
    own = f"Host: {host if host is not None else urlsplit(server.panel).netloc}"
    lines = (f"POST {path} HTTP/1.1", own, *headers, "Connection: close")
    return "\r\n".join((*lines, f"Content-Length: {len(body.encode('latin-1'))}", "", body))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 200),
        (("Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-origin"), 200),
        (("Origin: http://LOCALHOST:{port}",), 200),
        (("Origin: null",), 403),
        (("Origin: http://localhost:1",), 403),
        (("Origin: http://localhost",), 403),
        (("Origin: https://127.0.0.1:{port}",), 403),
        (("Origin: http://me@127.0.0.1:{port}",), 403),
        (("Origin: http://127.0.0.1:{port}", "Origin: null"), 403),
        (("Origin: http://[::1",), 403),
        (("Origin: \xff",), 403),
        (("Sec-Fetch-Site: same-site",), 403),
        (("Sec-Fetch-Site: cross-site",), 403),
    ],
)
def test_page_of_another_origin_is_refused(
    server: Server, headers: tuple[str, ...], status: int
) -> None:
    port = str(urlsplit(server.panel).port)
    told = [header.replace("{port}", port) for header in headers]
    assert send(server, request(server, *told)) == status


@pytest.mark.parametrize(
    "host",
    ["", "[::1", "a b", "me@127.0.0.1:{port}", "127.0.0.1:{port}@evil", "localhost:1", "localhost",
     "127.0.0.1:99999999", "evil.example.com", "127.0.0.1.evil.example.com:{port}", "\xff", "[", ":"],
)  # fmt: skip
def test_host_that_is_not_the_panels_own_is_refused(server: Server, host: str) -> None:
    port = str(urlsplit(server.panel).port)
    assert send(server, request(server, host=host.replace("{port}", port))) in (400, 403)


@pytest.mark.parametrize(
    "body",
    ["", "{", "\xff\xfe", "[" * 150, "[" * 400 + "]" * 400, "[" * 990 + "]" * 990,
     '{"a":' * 9000 + "1" + "}" * 9000, "1" * 5000, "1e999", '{"query": "\\ud83d"}', "NaN", "null"],
)  # fmt: skip
def test_body_that_is_no_event_is_refused(server: Server, body: str) -> None:
    assert send(server, request(server, body=body)) == 400


@pytest.mark.parametrize("timeout", ["nan", "inf", "-inf", "0", "-1", "1e999", "x", "", "%00"])
def test_timeout_is_a_finite_positive_number(server: Server, timeout: str) -> None:
    assert send(server, request(server, path=f"{INVOKE}?timeout={timeout}")) == 400


@pytest.mark.parametrize("timeout", [math.nan, math.inf, 0.0, -1.0])
def test_timeout_of_the_command_line_is_one_too(timeout: float) -> None:
    with pytest.raises(BadParameter, match="is not a finite number above 0"):
        finite(timeout)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("GET / HTTP/1.0\r\n\r\n", 403),
        ("nonsense\r\n\r\n", 400),
        ("GET /api/functions HTTP/1.1\r\nHost: {host}\r\nHost: evil\r\nConnection: close\r\n\r\n", 400),
        ("GET /api/functions/%ff/invoke HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 405),
        ("POST /api/functions/%ff%0a%1b/invoke HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 404),
        ("POST /api/functions/search/invoke HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("POST /api/functions/search/invoke HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)  # fmt: skip
def test_request_that_is_malformed_is_answered_in_4xx(
    server: Server, raw: str, status: int
) -> None:
    assert send(server, raw.replace("{host}", urlsplit(server.panel).netloc)) == status


def test_folder_of_the_note_is_private_and_git_sees_nothing_in_it(server: Server) -> None:
    folder = server.folder / ".cm"
    (server.folder / ".gitignore").unlink()
    git(server.folder, "init", "-q")
    assert ".cm" not in git(server.folder, "status", "--short")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "serve.json").stat().st_mode) == 0o600
    assert running_panel(server.folder) == server.panel


@pytest.fixture(scope="module")
def impostor() -> Iterator[tuple[str, list[str]]]:
    """The address of a server of somebody else, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"result": "forged", "milliseconds": 1}')

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def leave(folder: Path, content: bytes, mode: int = 0o600) -> None:
    place = folder / ".cm"
    place.mkdir(exist_ok=True)
    place.chmod(0o700)
    (place / "serve.json").write_bytes(content)
    (place / "serve.json").chmod(mode)


@UNIX
def test_note_that_a_repository_brings_along_is_not_believed(
    tmp_path: Path, impostor: tuple[str, list[str]]
) -> None:
    address, asked = impostor
    me = psutil.Process()
    note = {"panel": address, "pid": me.pid, "started": me.create_time(), "secret": "known"}
    leave(tmp_path, json.dumps(note).encode(), 0o644)
    assert (running_panel(tmp_path), asked) == (None, [])
    for change in (
        {"panel": "http://evil.example.com:80"},
        {"panel": f"http://me@{address.removeprefix('http://')}"},
        {"panel": "http://127.0.0.1:1"},
        {"panel": "http://127.0.0.1:99999"},
        {"pid": 1},
        {"started": 1.0},
    ):
        leave(tmp_path, json.dumps({**note, **change}).encode())
        assert (running_panel(tmp_path), asked) == (None, [])
    # The last line of defence: it runs as this user, and does not know what only a real one knows.
    leave(tmp_path, json.dumps(note).encode())
    assert running_panel(tmp_path) is None
    assert [path.partition("=")[0] for path in asked] == ["/api/proof?nonce"]


PIDS: list[Any] = [True, None, -1, 0, 2**70, 1.5, "1", []]
NOTES = [{"panel": "http://127.0.0.1:80", "pid": pid, "started": 1, "secret": ""} for pid in PIDS]
ODD = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"[" * 4000,
    b'{"pid": 1' + b"0" * 400 + b"}",
    b" " * 9000,
]


def test_note_of_any_content_is_no_traceback(tmp_path: Path) -> None:
    for content in ODD + [json.dumps(note).encode() for note in NOTES]:
        leave(tmp_path, content)
        assert running_panel(tmp_path) is None


@UNIX
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "folder that is a link"])
def test_note_that_is_no_plain_file_is_not_read(tmp_path: Path, kind: str) -> None:
    module, place = tmp_path / "module", tmp_path / "module/.cm"
    module.mkdir()
    target = place if kind == "folder that is a link" else place / "serve.json"
    if target != place:
        place.mkdir(0o700)
    if kind == "pipe" and sys.platform != "win32":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path if target == place else "/dev/zero")
    assert running_panel(module) is None
