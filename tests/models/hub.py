"""An https origin on loopback that answers as the Hugging Face hub answers `huggingface_hub`."""

import hashlib
import json
import re
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trustme

COMMIT = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
# The hub keeps files over some size in large-file storage, which it redirects to.
LARGE = 1 << 20

# What a fault does with one request: it answers itself and returns True, or lets the hub answer.
Fault = Callable[["_Handler", bytes], bool]


class Hub:
    """Repositories of files, the requests that came, and the faults that are to come."""

    def __init__(self, folder: Path) -> None:
        self.repos: dict[str, Path] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        # The credentials that came with requests for files of a repository.
        self.keys: set[str] = set()
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        authority = trustme.CA()
        self.ca = folder / "hub-ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://localhost:{self.server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point the hub's clients here."""
        ca = str(self.ca)
        return {"HF_ENDPOINT": self.url, "REQUESTS_CA_BUNDLE": ca, "SSL_CERT_FILE": ca}

    def fail(self, name: str, *faults: Fault) -> None:
        """Let the next requests for the content of a file (by its name) meet these faults."""
        self.faults[name].extend(faults)

    def content_requests(self) -> list[tuple[str, str, str | None]]:
        """Method, path and Range of the requests that were for the content of files."""
        return [request for request in self.requests if "/api/" not in request[1]]


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """A hub that serves until the block ends."""
    hub = Hub(folder)
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()


def status(code: int, **headers: str) -> Fault:
    """Answer with an error status."""

    def fault(handler: "_Handler", _content: bytes) -> bool:
        handler.reply(code, b"no", {key.replace("_", "-"): value for key, value in headers.items()})
        return True

    return fault


def truncated(count: int) -> Fault:
    """Promise the whole content and break off after `count` bytes."""

    def fault(handler: "_Handler", content: bytes) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:count])
        handler.close_connection = True
        return True

    return fault


def corrupted(handler: "_Handler", content: bytes) -> bool:
    """Answer with as many bytes, the last of them another."""
    handler.reply(200, content[:-1] + bytes([content[-1] ^ 1]), {})
    return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep silent about clients that hang up; some tests want them to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.hub.requests.append((self.command, self.path, self.headers.get("Range")))
        path = unquote(address.path)
        if match := re.fullmatch(r"/api/models/(.+?)/tree/(.+)", path):
            self.tree(match[1])
        elif match := re.fullmatch(r"/api/models/(.+?)(?:/revision/(.+))?", path):
            self.model(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            self.resolve(match[1], match[2], match[3])
        elif match := re.fullmatch(r"/storage/(.+?)//(.+)", path) or re.fullmatch(
            r"/plain/([^/]+)/(.+)", path
        ):
            self.content(self.hub.repos[match[1]] / match[2])
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def model(self, repo: str, revision: str) -> None:
        folder = self.hub.repos.get(repo)
        if folder is None or revision not in ("main", COMMIT):
            code = "RepoNotFound" if folder is None else "RevisionNotFound"
            return self.reply(404, b'{"error": "not found"}', {"X-Error-Code": code})
        siblings = [
            {"rfilename": path, "size": file.stat().st_size, "blobId": _blob(file)}
            | ({"lfs": {"sha256": _sha256(file), **_pointer(file)}} if large else {})
            for path, file, large in self.listing(folder)
        ]
        info = {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "siblings": siblings}
        return self.reply(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def tree(self, repo: str) -> None:
        entries = [
            {"type": "file", "path": path, "size": file.stat().st_size, "oid": _blob(file)}
            | ({"lfs": {"oid": _sha256(file), **_pointer(file)}} if large else {})
            for path, file, large in self.listing(self.hub.repos[repo])
        ]
        self.reply(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

    @staticmethod
    def listing(folder: Path) -> list[tuple[str, Path, bool]]:
        return [
            (file.relative_to(folder).as_posix(), file, file.stat().st_size >= LARGE)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        ]

    def resolve(self, repo: str, revision: str, path: str) -> None:
        if key := self.headers.get("X-Key"):
            self.hub.keys.add(key)
        file = self.hub.repos.get(repo, Path("/nowhere")) / path
        if revision not in ("main", COMMIT) or not file.is_file():
            code = "EntryNotFound" if repo in self.hub.repos else "RepoNotFound"
            return self.reply(404, b"Entry not found", {"X-Error-Code": code})
        if file.stat().st_size < LARGE:
            return self.content(file, {"ETag": f'"{_blob(file)}"', "X-Repo-Commit": COMMIT})
        port = self.hub.server.server_port
        headers = {
            "Location": f"https://127.0.0.1:{port}/storage/{repo}//{path}",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{_sha256(file)}"',
            "X-Linked-Size": str(file.stat().st_size),
        }
        return self.reply(302, b"Found", headers)

    def content(self, file: Path, headers: dict[str, str] | None = None) -> None:
        if not file.is_file():
            return self.reply(404, b"Not found", {})
        content = file.read_bytes()
        faults = self.hub.faults[file.name]
        if self.command == "GET" and faults and faults.popleft()(self, content):
            return None
        headers = {"Accept-Ranges": "bytes", **(headers or {})}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first = int(match[1])
            last = int(match[2]) if match[2] else len(content) - 1
            if first >= len(content):
                return self.reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self.reply(206, content[first : last + 1], headers)
        return self.reply(200, content, headers)

    def reply(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _blob(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _pointer(file: Path) -> dict[str, int]:
    return {"size": file.stat().st_size, "pointerSize": 134}
