"""The routes of the platform API that images are read by, on loopback, with a REST Source beside them."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trustme

MEDIA_SET = "ri.mio.main.media-set.11111111-1111-1111-1111-111111111111"
DATASET = "ri.foundry.main.dataset.22222222-2222-2222-2222-222222222222"
ITEM = "ri.mio.main.media-item."
TRANSACTION = "ri.foundry.main.transaction.33333333-3333-3333-3333-333333333333"
TOKEN = "a-token"


class Platform:
    """Items by their path, and the variables that Foundry would give a module that may read them."""

    def __init__(self, folder: Path, port: int, ca: Path) -> None:
        address = f"https://localhost:{port}"
        discovery = folder / "discovery.yml"
        discovery.write_text(
            f'api_gateway: ["{address}/api"]\nmultipass: ["{address}/multipass/api"]\n'
        )
        sources = folder / "sources.json"
        sources.write_text(
            json.dumps(
                {
                    "cameras": {
                        "secrets": {},
                        "httpConnectionConfig": {
                            "url": f"{address}/cameras",
                            "authHeaders": {"Authorization": "Bearer camera"},
                            "queryParameters": {"size": "large"},
                        },
                    }
                }
            )
        )
        self.items: dict[str, bytes] = {}
        self.host = f"localhost:{port}"
        self.ca = ca
        self.environment = {
            "CLIENT_ID": "client",
            "CLIENT_SECRET": "secret",
            "DEFAULT_CA_PATH": str(ca),
            "REQUESTS_CA_BUNDLE": str(ca),
            "FOUNDRY_SERVICE_DISCOVERY_V2": str(discovery),
            "SOURCE_CONFIGURATIONS_PATH": str(sources),
        }

    def media(self, name: str, content: bytes) -> None:
        """Put an item into the media set."""
        self.items[f"/api/v2/mediasets/{MEDIA_SET}/items/{ITEM}{name}/original"] = content

    def branch(self, name: str, transaction: str) -> None:
        """Say at which transaction a branch of the dataset is."""
        body = {"name": name, "transactionRid": transaction}
        self.items[f"/api/v2/datasets/{DATASET}/branches/{name}"] = json.dumps(body).encode()

    def listing(self) -> bytes:
        """The files of the dataset, as the API lists them."""
        start, end = f"/api/v2/datasets/{DATASET}/files/", "/content"
        files = [
            {
                "path": path[len(start) : -len(end)],
                "transactionRid": TRANSACTION,
                "sizeBytes": str(len(content)),
                "updatedTime": "2026-01-01T00:00:00Z",
            }
            for path, content in self.items.items()
            if path.startswith(start)
        ]
        return json.dumps({"data": files}).encode()

    def file(self, path: str, content: bytes) -> None:
        """Put a file into the dataset."""
        self.items[f"/api/v2/datasets/{DATASET}/files/{path}/content"] = content


@contextmanager
def running_platform(folder: Path) -> Iterator[Platform]:
    """A platform that serves until the block ends."""
    authority = trustme.CA()
    ca = folder / "platform-ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    platform = Platform(folder, server.server_port, ca)
    server.RequestHandlerClass = type("Handler", (_Handler,), {"platform": platform})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield platform
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    platform: Platform

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600}
        self.reply(200, json.dumps(token).encode(), "application/json")

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path.startswith("/cameras/"):
            allowed = self.headers.get("Authorization") == "Bearer camera"
            content = self.platform.items.get(path) if address.query == "size=large" else None
            if not allowed or content is None:
                return self.reply(404 if allowed else 401, b"no", "text/plain")
            return self.reply(200, content, "image/png")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.error(401, "UNAUTHORIZED", "MissingCredentials")
        if path == f"/api/v2/datasets/{DATASET}/files":
            return self.reply(200, self.platform.listing(), "application/json")
        if "forbidden" in path:
            return self.error(403, "PERMISSION_DENIED", "ReadMediaItemPermissionDenied")
        if path not in self.platform.items:
            return self.error(404, "NOT_FOUND", "MediaItemNotFound")
        kind = "application/json" if "/branches/" in path else "application/octet-stream"
        return self.reply(200, self.platform.items[path], kind)

    def error(self, status: int, code: str, name: str) -> None:
        body = {"errorCode": code, "errorName": name, "errorInstanceId": "x", "parameters": {}}
        self.reply(status, json.dumps(body).encode(), "application/json")

    def reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
