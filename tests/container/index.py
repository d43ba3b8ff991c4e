"""A package index on loopback whose wheels are made on the spot, as pip and uv ask it."""

from __future__ import annotations

import base64
import hashlib
import ssl
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO


def wheel(name: str, version: str, needs: tuple[str, ...] = ()) -> tuple[str, bytes]:
    """The file name and the content of a wheel with nothing but its metadata."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {need}\n" for need in needs)
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file, text in (("METADATA", metadata), ("WHEEL", tags), ("RECORD", "")):
            archive.writestr(zipfile.ZipInfo(f"{info}/{file}"), text)
    return f"{name}-{version}-py3-none-any.whl", content.getvalue()


class Index:
    """What an index has now, and where it is; `login` is `USER:PASSWORD` where it wants one."""

    def __init__(self, login: str | None = None) -> None:
        self.login = login
        self.wheels: dict[str, dict[str, bytes]] = {}
        self.port = 0
        self.origin = "http://127.0.0.1"

    def add(self, name: str, version: str, *needs: str) -> None:
        """Publish a version."""
        file, content = wheel(name, version, needs)
        self.wheels.setdefault(name, {})[file] = content

    @property
    def url(self) -> str:
        """Its address, without a login."""
        return f"{self.origin}:{self.port}/simple"

    @property
    def url_with_login(self) -> str:
        """Its address as it stands in a pip.conf."""
        return self.url.replace("//", f"//{self.login}@")

    def answer(self, path: str) -> bytes | None:
        """The page of a package, or a wheel."""
        parts = path.strip("/").split("/")
        files = self.wheels.get(parts[1] if len(parts) > 1 else "", {})
        if len(parts) == 3:
            return files.get(parts[2].replace("%2B", "+"))
        links = (
            f'<a href="{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'
            for file, content in files.items()
        )
        return (
            f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if files else None
        )


@contextmanager
def serving(index: Index, certificate: ssl.SSLContext | None = None) -> Iterator[Index]:
    """Serve an index until the end of the block; with a certificate, by https at `localhost`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = index.login and base64.b64encode(index.login.encode()).decode()
            if wanted and self.headers.get("Authorization") != f"Basic {wanted}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = index.answer(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header(
                "Content-Type", "text/html" if self.path.endswith("/") else "application/zip"
            )
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET  # noqa: N815  (uv asks for the size of a wheel first)

        def log_message(self, *_args: object) -> None:
            """Nothing: a test says what went wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.port = server.server_address[1]
    if certificate is not None:
        server.socket = certificate.wrap_socket(server.socket, server_side=True)
        index.origin = "https://localhost"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
