"""An https origin on loopback that answers as the Hugging Face hub answers `huggingface_hub`."""

import hashlib
import json
import os
import re
import ssl
import struct
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from pytest_httpserver import HTTPServer
from werkzeug.exceptions import HTTPException
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

COMMIT = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
# The hub keeps files over some size in large-file storage, which it redirects to.
LARGE = 1 << 20

# What a fault does with one request for a file: it answers in place of the hub, or gives None.
Fault = Callable[[Request, bytes], Response | None]


class Hub:
    """Repositories of files, the requests that came, and the faults that are to come."""

    def __init__(self, folder: Path) -> None:
        self.repos: dict[str, Path] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        # The same requests with all of their headers.
        self.seen: list[Request] = []
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        # Names that the listing of each repository has besides those of its files.
        self.listed_too: list[str] = []
        authority = trustme.CA()
        self.ca = folder / "hub-ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self.server = HTTPServer("localhost", ssl_context=context, threaded=True)
        self.server.expect_request(re.compile("")).respond_with_handler(self._answer)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://localhost:{self.server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point the hub's clients here."""
        ca = str(self.ca)
        return {"HF_ENDPOINT": self.url, "REQUESTS_CA_BUNDLE": ca, "SSL_CERT_FILE": ca}

    def fail(self, name: str, *faults: Fault) -> None:
        """Let the next requests for the content of a file (by its name) meet these faults."""
        self.faults[name].extend(faults)

    def clear(self) -> None:
        """Forget the requests that came and the faults that were to come."""
        self.requests.clear()
        self.seen.clear()
        self.faults.clear()
        self.listed_too.clear()

    def content_requests(self) -> list[tuple[str, str, str | None]]:
        """Method, path and Range of the requests that were for the content of files."""
        return [request for request in self.requests if "/api/" not in request[1]]

    @property
    def keys(self) -> set[str]:
        """The credentials of Sources that came with requests for files of a repository."""
        resolved = (request for request in self.seen if "/resolve/" in request.path)
        return {request.headers["X-Key"] for request in resolved if "X-Key" in request.headers}

    def sent(self, header: str) -> list[str | None]:
        """What came in a header, request by request."""
        return [request.headers.get(header) for request in self.seen]

    def _answer(self, request: Request) -> Response:
        self.seen.append(request)
        self.requests.append((request.method, request.path, request.headers.get("Range")))
        path = request.path
        if match := re.fullmatch(r"/api/models/(.+?)/tree/(.+)", path):
            return _json([_entry(*found) for found in _listing(self.repos[match[1]])])
        if match := re.fullmatch(r"/api/models/(.+?)(?:/revision/(.+))?", path):
            return self._model(match[1], match[2] or "main")
        if match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            return self._resolve(request, match[1], match[2], match[3])
        if match := re.fullmatch(r"/storage/(.+?)//(.+)", path) or re.fullmatch(
            r"/plain/([^/]+)/(.+)", path
        ):
            return self._content(request, self.repos[match[1]] / match[2])
        return _error("RepoNotFound")

    def _model(self, repo: str, revision: str) -> Response:
        folder = self.repos.get(repo)
        if folder is None or revision not in ("main", COMMIT):
            return _error("RepoNotFound" if folder is None else "RevisionNotFound")
        siblings: list[dict[str, Any]] = [
            {"rfilename": path, "size": file.stat().st_size, "blobId": _blob(file)}
            | ({"lfs": {"sha256": _sha256(file), **_pointer(file)}} if large else {})
            for path, file, large in _listing(folder)
        ]
        siblings += ({"rfilename": name, "size": 2} for name in self.listed_too)
        return _json({"id": repo, "sha": COMMIT, "private": False, "siblings": siblings})

    def _resolve(self, request: Request, repo: str, revision: str, path: str) -> Response:
        file = self.repos.get(repo, Path("/nowhere")) / path
        if revision not in ("main", COMMIT) or not file.is_file():
            return _error("EntryNotFound" if repo in self.repos else "RepoNotFound")
        if file.stat().st_size < LARGE:
            answer = self._content(request, file)
            answer.headers["X-Repo-Commit"] = COMMIT
            return answer
        headers = {
            "Location": f"https://127.0.0.1:{self.server.port}/storage/{repo}//{path}",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{_sha256(file)}"',
            "X-Linked-Size": str(file.stat().st_size),
        }
        return Response(status=302, headers=headers)

    def _content(self, request: Request, file: Path) -> Response:
        if not file.is_file():
            return Response(status=404)
        faults = self.faults[file.name]
        if (
            request.method == "GET"
            and faults
            and (fault := faults.popleft()(request, file.read_bytes()))
        ):
            return fault
        try:
            return send_file(
                file,
                request.environ,
                "application/octet-stream",
                etag=_blob(file),
                conditional=True,
            )
        except HTTPException as error:  # a range that there is not
            return Response(status=error.code)


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """A hub that serves until the block ends."""
    hub = Hub(folder)
    hub.server.start()
    try:
        yield hub
    finally:
        hub.server.stop()


def replies(code: int = 200, body: bytes | None = None, **headers: str) -> Fault:
    """Answer with a status, the file or another body, and headers (`Content_Type="text/html"`)."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda _, content: Response(content if body is None else body, code, named)


def status(code: int, **headers: str) -> Fault:
    """Answer with an error status."""
    return replies(code, b"no", **headers)


def truncated(count: int, **headers: str) -> Fault:
    """Promise the whole content and break off after `count` bytes."""

    def fault(_: Request, content: bytes) -> Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return Response(
            iter([content[:count]]), headers={"Content-Length": str(len(content)), **named}
        )

    return fault


def dribbled(request: Request, content: bytes) -> Response:
    """Send the content, a byte each tenth of a second."""

    def slowly() -> Iterator[bytes]:
        for letter in content:
            time.sleep(0.1)
            yield bytes((letter,))

    return Response(slowly(), headers={"Content-Length": str(len(content))})


def corrupted(request: Request, content: bytes) -> Response:
    """Answer with as many bytes, the last of them another."""
    return Response(content[:-1] + bytes([content[-1] ^ 1]))


def safetensors(size: int) -> bytes:
    """A file of that format and size, with random bytes in its one tensor."""
    count = size - 8 - 120
    shape = {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}
    header = json.dumps({"weight": shape}).ljust(120).encode()
    return struct.pack("<Q", len(header)) + header + os.urandom(count)


def _json(value: Any) -> Response:
    return Response(json.dumps(value), content_type="application/json")


def _error(code: str) -> Response:
    return Response('{"error": "not found"}', 404, {"X-Error-Code": code})


def _listing(folder: Path) -> list[tuple[str, Path, bool]]:
    return [
        (file.relative_to(folder).as_posix(), file, file.stat().st_size >= LARGE)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]


def _entry(path: str, file: Path, large: bool) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": file.stat().st_size, "oid": _blob(file)}
    return entry | ({"lfs": {"oid": _sha256(file), **_pointer(file)}} if large else {})


def _blob(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _pointer(file: Path) -> dict[str, int]:
    return {"size": file.stat().st_size, "pointerSize": 134}
