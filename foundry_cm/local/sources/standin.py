"""A stand-in for the system behind a Source: https on this machine, as the module expects it.

It answers from files, or passes each request on: to a server of the module's owner, or, while answers
are recorded, to the system itself.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.authorities import public_authorities
from foundry_cm.local.reporter import Reporter
from foundry_cm.local.sources.answers import Answers, Asked, missing
from foundry_cm.local.sources.declared import Source
from foundry_cm.local.sources.recording import NotRecorded, Received, check_folder, record
from foundry_cm.local.sources.redaction import (
    hidden_in,
    logs_in,
    of_headers,
    of_query,
    of_source,
    redacted,
)

# What concerns one connection alone, and what is told anew of the other one.
_OF_CONNECTION = {
    "connection", "content-length", "date", "host", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "server", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
_LARGEST = 1 << 30
_SECONDS = 300


class StandIn:
    """Answers in place of one Source; the reporter hears of each request that it could not answer."""

    def __init__(
        self, name: str, source: Source, folder: Path, reporter: Reporter, *, recorded: bool = False
    ) -> None:
        self.name, self.source, self.module = name, source, folder
        self.base = URL(source.url or "https://localhost").path.rstrip("/")
        self._recorded, self._reporter = recorded, reporter
        self._secrets = of_source(source)

    @property
    def folder(self) -> Path:
        """Where its answers lie."""
        return self.module / (self.source.answers or "")

    def __str__(self) -> str:
        """How it answers, for whoever starts the module."""
        if self._recorded:
            return f"{self.name}  {self.source.url}, recorded in {self.source.answers}"
        return f"{self.name}  {self.source.answers or self.source.url}"

    def check(self) -> None:
        """Raise the `CmError` of answers that cannot be used."""
        if self._recorded:
            check_folder(self.module, self.folder)
        if self.source.answers is not None:
            self._read()

    def app(self) -> web.Application:
        """The server, without its port and certificate."""
        app = web.Application(client_max_size=_LARGEST)
        passes = self._recorded or self.source.answers is None
        if passes:
            app.cleanup_ctx.append(self._client)
        app.router.add_route("*", "/{path:.*}", self._pass_on if passes else self._answer)
        return app

    async def _client(self, _: web.Application) -> AsyncIterator[None]:
        tls = self._trust()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls),
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._recorded,
            auto_decompress=self._recorded,
        )
        yield
        await self._session.close()

    def _trust(self) -> ssl.SSLContext:
        """What a client of the system itself trusts and shows: as its Source says."""
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=public_authorities())
        if self.source.ca:
            context.load_verify_locations(cafile=self.module / self.source.ca)
        if pair := self.source.client_certificate:
            context.load_cert_chain(self.module / pair.certificate, self.module / pair.key)
        return context

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            asked = await self._asked(request)
            answers = self._read()
            found = answers.find(asked)
            if found is None:
                raise missing(self.name, answers, asked, self.module)
            content = found.content()
        except CmError as error:
            return self._failed(501 if error.code == "NoAnswer" else 500, error, request)
        headers = found.headers().items()
        return self._led_back(request, found.answer.status, headers, content)

    def _read(self) -> Answers:
        """The answers as they are now, since people edit them while a module runs."""
        if not self.folder.is_dir() and not self._recorded:
            raise CmError(
                f"The Source {self.name} has no folder of answers",
                where=str(self.folder),
                fix="Make it, with one file for each answer; or give url as well, and record them: "
                f"cm serve (or cm run) --record {self.name}",
                code="Sources",
                exit_code=USAGE,
            )
        return Answers.read(self.folder)

    async def _asked(self, request: web.Request) -> Asked:
        path = request.raw_path
        if self.base and (path + "/").startswith((f"{self.base}/", f"{self.base}?")):
            path = path.removeprefix(self.base)
            path = path if path.startswith("/") else f"/{path}"
        return Asked.of(request.method, path, await request.read(), self.source.query)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        there = URL(self.source.url or "").origin()
        headers = list(_passed(request.headers.items()))
        if self._recorded:
            headers = [
                (name, value) for name, value in headers if name.lower() != "accept-encoding"
            ]
            headers.append(("Accept-Encoding", "identity"))
        try:
            async with self._session.request(
                request.method,
                URL(f"{there}{request.raw_path}", encoded=True),
                headers=headers,
                data=await request.read() or None,
                allow_redirects=False,
            ) as response:
                return await self._passed_back(request, response, str(there))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = f"What stands in for the Source {self.name} does not answer: {error}"
            if self._recorded:
                what = f"The system behind the Source {self.name} does not answer: {error}"
            return self._failed(502, CmError(what, where=str(there), code="NoStandIn"), request)

    async def _passed_back(
        self, request: web.Request, response: aiohttp.ClientResponse, there: str
    ) -> web.StreamResponse:
        headers = list(_passed(response.headers.items()))
        if self._recorded:
            content = await response.read()
            await self._record(request, Received(response.status, headers, content))
            kept = [(name, value) for name, value in headers if name.lower() != "content-encoding"]
            return self._led_back(request, response.status, kept, content)
        answer = web.StreamResponse(status=response.status)
        for name, value in headers:
            is_own = name.lower() == "location" and _within(there, value)
            answer.headers.add(name, value.removeprefix(there) if is_own else value)
        if "Content-Length" in response.headers:
            answer.content_length = int(response.headers["Content-Length"])
        await answer.prepare(request)
        async for piece in response.content.iter_any():
            await answer.write(piece)
        await answer.write_eof()
        return answer

    def _led_back(
        self, request: web.Request, status: int, headers: Iterable[tuple[str, str]], content: bytes
    ) -> web.Response:
        """An answer of the system itself, whose links to itself lead to the stand-in."""
        there, here = self._origin(), str(request.url.origin())
        led = CIMultiDict((name, value.replace(there, here)) for name, value in headers)
        with contextlib.suppress(UnicodeDecodeError):  # a picture has no links
            content = content.decode().replace(there, here).encode()
        return web.Response(status=status, body=content, headers=led)

    def _origin(self) -> str:
        """Where the system itself is; nothing else begins with a line end."""
        return str(URL(self.source.url).origin()) if self.source.url else "\n\0"

    async def _record(self, request: web.Request, received: Received) -> None:
        secrets = self._secrets_of(request) | of_headers(received.headers)
        asked = await self._asked(request)
        body = await request.read()
        if hidden_in(secrets, body) or logs_in(body):
            asked = asked.without_body
        try:
            file = record(self.folder, asked, received, secrets)
            self._reporter.noted(
                f"Recorded {redacted(secrets, str(asked))} in {file.relative_to(self.module)}."
            )
        except (NotRecorded, CmError, OSError) as error:
            told = redacted(secrets, str(asked))
            self._reporter.noted(f"The Source {self.name}: {told} was not recorded, for {error}.")

    def _secrets_of(self, request: web.Request) -> set[str]:
        """The credentials of the Source, and those that the module itself gives a request."""
        told = of_headers(request.headers.items()) | of_query(request.query.items())
        return self._secrets | told

    def _failed(self, status: int, error: CmError, request: web.Request) -> web.Response:
        secrets = self._secrets_of(request)
        what, where, fix = (
            part and redacted(secrets, part) for part in (error.what, error.where, error.fix)
        )
        self._reporter.unanswered(CmError(what or "", where=where, fix=fix, code=error.code))
        text = "".join(f"{part}\n" for part in (what, where, fix) if part)
        return web.Response(status=status, text=text)


def _within(origin: str, address: str) -> bool:
    return address == origin or address.startswith(f"{origin}/")


def _passed(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((name, value) for name, value in headers if name.lower() not in _OF_CONNECTION)
