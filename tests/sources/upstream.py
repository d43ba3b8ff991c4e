"""An https system outside Foundry, and the proxy of an agent in front of it, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from aiohttp import web


@dataclass
class Upstream:
    """Answers with what it received, or where it has files with one of those, by path and query.

    `tunnels` has what the proxy was asked.
    """

    ca: Path
    url: str = ""
    proxy: str = ""
    tunnels: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)


_RUNNING = web.AppKey("running", Upstream)


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[Upstream]:
    """Run both until the block ends; their certificates come from an authority of their own."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "upstream-ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    running = Upstream(folder / "upstream-ca.pem")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(running, context), loop).result()
    try:
        yield running
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _start(running: Upstream, context: ssl.SSLContext) -> web.AppRunner:
    app = web.Application()
    app[_RUNNING] = running
    app.router.add_route("*", "/{path:.*}", _echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    running.url = f"https://localhost:{runner.addresses[0][1]}/base"
    proxy = await asyncio.start_server(
        lambda reader, writer: _tunnel(running, reader, writer), "127.0.0.1", 0, ssl=context
    )
    running.proxy = f"https://localhost:{proxy.sockets[0].getsockname()[1]}"
    return runner


async def _echo(request: web.Request) -> web.Response:
    running = request.app[_RUNNING]
    running.authorizations.append(request.headers.get("Authorization", ""))
    if request.path in running.redirects:
        return web.Response(status=302, headers={"Location": running.redirects[request.path]})
    if running.files:
        file = running.files.get(request.path_qs)
        return web.Response(status=404) if file is None else web.Response(body=file)
    if request.path.endswith("/missing"):
        return web.Response(status=404)
    seen = {
        "path": request.path,
        "query": dict(request.query),
        "headers": dict(request.headers),
        "body": (await request.read()).decode(),
    }
    return web.json_response({"seen": json.dumps(seen)})


async def _tunnel(
    running: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """HTTP CONNECT, as the proxy of an agent answers it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    target = head[0].split()[1]
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    running.tunnels.append({"target": target, **headers})
    host, port = target.split(":")
    there, back = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
