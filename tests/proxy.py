"""The way out of a company's network: a proxy on loopback that connects where CONNECT says."""

from __future__ import annotations

import base64
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy(socketserver.ThreadingTCPServer):
    """What it was asked to connect to; `login` is `USER:PASSWORD` where it wants one."""

    daemon_threads = True

    def __init__(self, login: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.login = login
        self.targets: list[str] = []

    @property
    def url(self) -> str:
        """Its address, with the login."""
        return f"http://{f'{self.login}@' if self.login else ''}127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        target = self.rfile.readline().split()[1].decode()
        headers = []
        while line := self.rfile.readline().strip().decode():
            headers.append(line)
        if self.server.login:
            wanted = base64.b64encode(self.server.login.encode()).decode()
            if not any(line.endswith(f"Basic {wanted}") for line in headers):
                self.wfile.write(b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n")
                return
        self.server.targets.append(target)
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, port = target.split(":")
        with socket.create_connection((host, int(port))) as there:
            back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
            back.start()
            _copy(self.connection, there)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def running(login: str | None = None) -> Iterator[Proxy]:
    """A proxy until the end of the block."""
    with Proxy(login) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
