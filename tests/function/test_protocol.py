"""The runtime's routes, files and variables, as any client in any language meets them."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import socket
import ssl
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.addresses import bind_all
from foundry_cm.local.function.foundry import LocalFoundry, Settings

# A module that does nothing but tell which variables it was given.
IDLE = "import json, os, time; json.dump(dict(os.environ), open('env', 'w')); os.rename('env', 'env.json'); time.sleep(600)"
SCHEMA = [
    {
        "functionName": "echo",
        "inputs": [
            {
                "name": "text",
                "required": True,
                "constraints": [],
                "dataType": {"type": "string", "string": {}},
            }
        ],
        "output": {"type": "single", "single": {"dataType": {"type": "string", "string": {}}}},
    }
]


@dataclass
class Client:
    """A client of the runtime, written by hand."""

    foundry: LocalFoundry
    env: dict[str, str]
    session: aiohttp.ClientSession
    tls: ssl.SSLContext

    async def send(
        self, method: str, uri: str, token: str | None = None, **options: Any
    ) -> tuple[int, bytes]:
        own = Path(self.env["MODULE_AUTH_TOKEN"]).read_text()
        headers = {"Module-Auth-Token": own if token is None else token}
        async with self.session.request(
            method, uri, headers=headers, ssl=self.tls, **options
        ) as response:
            return response.status, await response.read()

    async def next_job(self) -> dict[str, Any] | None:
        status, body = await self.send("GET", self.env["GET_JOB_URI"])
        assert status in (200, 204)
        return json.loads(body)["computeModuleJobV1"] if status == 200 else None

    async def answer(self, job: dict[str, Any], body: Any) -> int:
        return (
            await self.send("POST", f"{self.env['POST_RESULT_URI']}/{job['jobId']}", data=body)
        )[0]


@asynccontextmanager
async def client(folder: Path, **settings: Any) -> AsyncIterator[Client]:
    """A local Foundry whose module is idle, with a client in its place."""
    options = {
        "command": [sys.executable, "-c", IDLE],
        "folder": folder,
        "restart": False,
        **settings,
    }
    async with LocalFoundry(Settings(**options)) as foundry:
        while not (folder / "env.json").exists():
            await asyncio.sleep(0.01)
        env = json.loads((folder / "env.json").read_text())
        tls = ssl.create_default_context(cafile=env["CONNECTIONS_TO_OTHER_PODS_CA_PATH"])
        async with aiohttp.ClientSession() as session:
            speaker = Client(foundry, env, session, tls)
            # A client that has declared nothing yet gets its first poll answered at once.
            assert await speaker.next_job() is None
            yield speaker


Scenario = Callable[[Client], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a scenario against a local Foundry."""

    def run(scenario: Scenario, *, declare_seconds: float = 0.02, **settings: Any) -> None:
        patience = "foundry_cm.local.function.foundry.DECLARE_SECONDS"
        monkeypatch.setattr(patience, declare_seconds)

        async def whole() -> None:
            async with client(tmp_path, **settings) as speaker:
                await asyncio.wait_for(scenario(speaker), 30)

        asyncio.run(whole())

    return run


def test_every_documented_variable_and_file_is_there(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        port = client.foundry.address.rpartition(":")[2]
        assert client.env["RUNTIME_HOST"] == "localhost"
        assert client.env["RUNTIME_PORT"] == str(port)
        assert client.env["RUNTIME_API"] == f"localhost:{port}"
        assert client.env["MAX_CONCURRENT_TASKS"] == "3"
        assert client.env["COMPUTE_SESSION_ID"].startswith("ses-")
        assert client.env["FOUNDRY_COMPUTE_MODULE_RID"].startswith("ri.foundry.main.deployed-app.")
        for name in ("GET_JOB", "POST_RESULT"):
            assert (
                client.env[f"{name}_URI"] == f"https://localhost:{port}{client.env[f'{name}_PATH']}"
            )
        for name in ("DEFAULT_CA_PATH", "CONNECTIONS_TO_OTHER_PODS_CA_PATH"):
            assert "BEGIN CERTIFICATE" in Path(client.env[name]).read_text()
        assert not Path(client.env["MODULE_AUTH_TOKEN"]).read_text().endswith("\n")
        discovery = Path(client.env["FOUNDRY_SERVICE_DISCOVERY_V2"]).read_text()
        # The platform is another server than the runtime, as in Foundry.
        assert re.search(r'^api_gateway: \["https://localhost:\d+/api"\]$', discovery, re.M)
        assert f":{port}/" not in discovery

    play(scenario, concurrency=3)


def test_a_proxy_of_this_machine_is_kept_out_of_the_way(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example.com")

    async def scenario(client: Client) -> None:
        assert client.env["NO_PROXY"] == "intranet.example.com,localhost,127.0.0.1"

    play(scenario)


def test_tokens_are_private_and_nothing_is_left_behind(play: Callable[..., None]) -> None:
    kept: list[Path] = []

    async def scenario(client: Client) -> None:
        # The folder of the mounts can be read by the user of a container, its parent by nobody else.
        folder = Path(client.env["DEFAULT_CA_PATH"]).parent.parent
        assert folder in Path(client.env["MODULE_AUTH_TOKEN"]).parents
        assert folder.name.startswith("cm-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        kept.append(folder)

    play(scenario)
    assert not kept[0].exists()


@pytest.mark.parametrize("uri", ["GET_JOB_URI", "POST_SCHEMA_URI", "RESTART_NOTIFICATION_URI"])
def test_wrong_token_is_refused(play: Callable[..., None], uri: str) -> None:
    async def scenario(client: Client) -> None:
        method = "GET" if uri.startswith("GET") else "POST"
        assert (await client.send(method, client.env[uri], token="wrong"))[0] == 401
        assert (await client.send(method, client.env[uri], token=""))[0] == 401

    play(scenario)


def test_connection_without_the_ca_is_refused(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.session.get(client.env["GET_JOB_URI"])

    play(scenario)


def test_poll_waits_and_ends_with_204(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundry_cm.local.function.server.LONG_POLL_SECONDS", 0.3)

    async def scenario(client: Client) -> None:
        began = asyncio.get_running_loop().time()
        assert await client.next_job() is None
        assert asyncio.get_running_loop().time() - began >= 0.3

    play(scenario)


def test_job_carries_the_documented_fields_and_its_result_gets_204(
    play: Callable[..., None],
) -> None:
    async def scenario(client: Client) -> None:
        call = asyncio.create_task(client.foundry.call("anything", {"text": "hi"}))
        job = await client.next_job()
        assert job is not None
        assert job["queryType"] == "anything"
        assert job["query"] == {"text": "hi"}
        assert {"jobId", "temporaryCredentialsAuthToken", "authHeader", "userId"} < job.keys()
        assert await client.answer(job, b'"HI"') == 204
        assert (await call).value == "HI"

    play(scenario)


def test_concurrency_is_enforced_by_the_runtime(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        calls = [asyncio.create_task(client.foundry.call("f", n)) for n in range(3)]
        first = await client.next_job()
        second = await client.next_job()
        third = asyncio.create_task(client.next_job())
        await asyncio.sleep(0.2)
        assert first and second and not third.done()
        await client.answer(first, b"1")
        job = await third
        assert job is not None
        await client.answer(job, b"3")
        await client.answer(second, b"2")
        assert [(await call).value for call in calls] == [1, 2, 3]

    play(scenario, concurrency=2)


def test_job_on_its_way_to_a_poll_that_hung_up_is_not_lost(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        for _ in range(5):
            poll = asyncio.create_task(client.next_job())
            await asyncio.sleep(0.05)
            poll.cancel()
            await asyncio.sleep(0.05)
        call = asyncio.create_task(client.foundry.call("f", {}, 5))
        await asyncio.sleep(0.05)
        job = await client.next_job()
        assert job is not None
        await client.answer(job, b"1")
        assert (await call).value == 1

    play(scenario)


def test_restart_notice_answers_the_callers_of_dropped_jobs(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        call = asyncio.create_task(client.foundry.call("f", {}))
        job = await client.next_job()
        assert job is not None
        status, body = await client.send("POST", client.env["RESTART_NOTIFICATION_URI"])
        assert (status, json.loads(body)) == (200, [job["jobId"]])
        with pytest.raises(CmError, match="The module restarted while it held this call"):
            await call
        assert await client.answer(job, b"late") == 204

    play(scenario)


def test_result_for_a_job_that_never_was_gets_404(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        assert await client.answer({"jobId": "nonsense"}, b"1") == 404

    play(scenario)


def test_schemas_that_are_no_array_get_400(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        uri = client.env["POST_SCHEMA_URI"]
        assert (await client.send("POST", uri, data=b"{}"))[0] == 400
        assert (await client.send("POST", uri, json=SCHEMA))[0] == 204
        assert client.foundry.schemas == SCHEMA

    play(scenario)


def _chunks(*parts: bytes) -> AsyncIterator[bytes]:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return body()


RESULTS = [
    (b"", "The result is empty, not JSON"),
    (b"{", "The result is not JSON: Expecting property name"),
    (b"\xff\xfe", "The result is 2 bytes that are not JSON"),
    (b"NaN", "The result holds NaN, which is not JSON"),
    (b"1", "echo gave a result that does not match its declared output: result is 1, not text"),
    (b'{"exception": "boom"}', "boom"),
    (b'{"error": "Unknown query type"}', "Unknown query type"),
    (b"[" * 300 + b"]" * 300, "The result is nested more than 200 deep"),
    (b"[" * 100_000, "The result is nested more than 200 deep"),
]


@pytest.mark.parametrize(("body", "reason"), RESULTS, ids=[repr(body)[:40] for body, _ in RESULTS])
def test_result_that_foundry_could_not_use_is_a_failure(
    play: Callable[..., None], body: bytes, reason: str
) -> None:
    async def scenario(client: Client) -> None:
        await client.send("POST", client.env["POST_SCHEMA_URI"], json=SCHEMA)
        call = asyncio.create_task(client.foundry.call("echo", {"text": ""}))
        job = await client.next_job()
        assert job is not None
        assert await client.answer(job, body) == 204
        with pytest.raises(CmError, match=reason):
            await call

    play(scenario)


@pytest.mark.parametrize(
    ("parts", "value"),
    [((b'{"a": 1}', b'{"a": 2}'), [{"a": 1}, {"a": 2}]), ((b'"x"', b'"y"'), ["x", "y"]), ((), [])],
)
def test_streamed_result_is_kept_whole(
    play: Callable[..., None], parts: tuple[bytes, ...], value: list[Any]
) -> None:
    async def scenario(client: Client) -> None:
        call = asyncio.create_task(client.foundry.call("f", {}))
        job = await client.next_job()
        assert job is not None
        assert await client.answer(job, _chunks(*parts)) == 204
        assert (await call).value == value

    play(scenario)


def test_event_and_result_over_the_limit_are_refused_with_the_way_round(
    play: Callable[..., None],
) -> None:
    async def scenario(client: Client) -> None:
        polled = asyncio.create_task(client.next_job())
        with pytest.raises(CmError, match="over the limit of 0.01 MB for one call") as refused:
            await client.foundry.call("f", "x" * 20_000)
        assert "pass a reference" in str(refused.value.fix)
        call = asyncio.create_task(client.foundry.call("f", {}))
        job = await polled
        assert job is not None
        assert await client.answer(job, b"1" * 20_000) == 204
        with pytest.raises(CmError, match="The result is over the limit of 0.01 MB for one call"):
            await call

    play(scenario, max_megabytes=0.01)


def test_nothing_listens_beyond_loopback(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        import psutil

        listening = [
            c.laddr.ip
            for c in psutil.Process(os.getpid()).net_connections()
            if c.status == "LISTEN"
        ]
        assert "127.0.0.1" in listening
        assert all(ipaddress.ip_address(address).is_loopback for address in listening)

    play(scenario)


def test_schema_may_be_one_object_and_leave_out_what_is_empty(play: Callable[..., None]) -> None:
    async def scenario(client: Client) -> None:
        uri = client.env["POST_SCHEMA_URI"]
        schema = {key: value for key, value in SCHEMA[0].items() if key != "inputs"}
        assert (await client.send("POST", uri, json=schema))[0] == 204
        call = asyncio.create_task(client.foundry.call("echo", ["anything"]))
        job = await client.next_job()
        assert job is not None and job["query"] == ["anything"]
        await client.answer(job, b"1")
        assert (await call).value == 1

    play(scenario)


def test_function_that_a_client_declares_after_its_first_poll_is_checked(
    play: Callable[..., None],
) -> None:
    async def scenario(client: Client) -> None:
        call = asyncio.create_task(client.foundry.call("echo", {"txet": ""}))
        polls = asyncio.create_task(client.next_job())
        await client.send("POST", client.env["POST_SCHEMA_URI"], json=SCHEMA)
        with pytest.raises(CmError, match="event.txet is not a field"):
            await call
        with pytest.raises(CmError, match='The module has no function "ehco"'):
            await client.foundry.call("ehco", {"text": ""})
        # A client of this kind may serve what it does not declare.
        call = asyncio.create_task(client.foundry.call("undeclared", {}))
        job = await polls
        assert job is not None
        await client.answer(job, b"1")
        assert (await call).value == 1

    play(scenario, declare_seconds=5)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", socket.gethostname()])
def test_runtime_answers_on_each_name_of_loopback(play: Callable[..., None], host: str) -> None:
    addresses = socket.getaddrinfo(host.strip("[]"), None)
    if not all(ipaddress.ip_address(each[4][0]).is_loopback for each in addresses):
        pytest.skip("the name of this machine stands for another address")

    async def scenario(client: Client) -> None:
        uri = client.env["GET_JOB_URI"].replace("localhost", host)
        assert (await client.send("GET", uri, token="wrong"))[0] == 401

    play(scenario)


def test_older_protocol_is_plain_http_and_its_job_is_flat(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    [listener] = bind_all(["127.0.0.1"], 0)
    port = listener.getsockname()[1]
    listener.close()
    monkeypatch.setattr("foundry_cm.local.function.foundry.OLDER_PORT", port)

    async def scenario(client: Client) -> None:
        url = f"http://127.0.0.1:{port}"
        assert (await client.send("GET", f"{url}/job", token="wrong"))[0] == 401
        call = asyncio.create_task(client.foundry.call("f", {"text": "hi"}))
        status, body = await client.send("GET", f"{url}/job")
        job = json.loads(body)
        assert (status, job["queryType"], job["query"]) == (200, "f", {"text": "hi"})
        assert (await client.send("POST", f"{url}/results/{job['jobId']}", data=b"1"))[0] == 204
        assert (await call).value == 1
        assert (await client.send("POST", f"{url}/restart-notify"))[1] == b"[]"

    play(scenario, older=True)


def test_large_event_and_result_are_read_in_a_process_of_their_own(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundry_cm.local.function.payloads.LARGE", 10)

    async def scenario(client: Client) -> None:
        await client.send("POST", client.env["POST_SCHEMA_URI"], json=SCHEMA)
        with pytest.raises(CmError, match="event.txet is not a field") as refused:
            await client.foundry.call("echo", {"txet": "a long one"})
        assert refused.value.fix == 'Did you mean "text"?'
        call = asyncio.create_task(client.foundry.call("echo", {"text": "a long one"}))
        job = await client.next_job()
        assert job is not None
        await client.answer(job, b'"another long one"')
        assert (await call).value == "another long one"

    play(scenario)


def test_module_gets_of_the_shell_what_is_passed_on(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "REQUESTS_CA_BUNDLE", "REGION"):
        monkeypatch.setenv(name, "of the shell")

    async def scenario(client: Client) -> None:
        assert client.env["REGION"] == "of the shell"
        assert not {"AWS_SECRET_ACCESS_KEY", "REQUESTS_CA_BUNDLE"} & client.env.keys()

    play(scenario, passed=["REGION"])


def test_calls_that_run_are_answered_before_the_module_restarts(
    play: Callable[..., None],
) -> None:
    async def scenario(client: Client) -> None:
        call = asyncio.create_task(client.foundry.call("f", {}))
        job = await client.next_job()
        assert job is not None
        reload = asyncio.create_task(client.foundry.reload("app.py changed"))
        assert await client.next_job() is None
        await client.answer(job, b"1")
        assert (await call).value == 1
        await reload

    play(scenario)
