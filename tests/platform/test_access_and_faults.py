"""Tokens, TLS, the error envelope, and faults on demand, as the official client meets them."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from foundry_sdk import (
    ApiNotFoundError,
    ConfidentialClientAuth,
    Config,
    FoundryClient,
    InternalServerError,
    RateLimitError,
    SDKInternalError,
    ServiceUnavailable,
    UnauthorizedError,
)

from foundry_cm.errors import CmError
from foundry_cm.local.platform.datasets import store
from foundry_cm.local.platform.faults import parse_fault
from foundry_cm.local.platform.incidents import INCIDENTS
from tests.platforms import LocalPlatform

# The client warns and falls back to a general exception when parameters are missing.
pytestmark = pytest.mark.filterwarnings("error:.*Deserialization failed")

QOS: dict[str, Any] = {"propagate_qos": "PROPAGATE_429_AND_503_TO_CALLER"}


def test_a_wrong_token_is_unauthorized(platform: LocalPlatform) -> None:
    platform.token_file.write_text("wrong")
    with pytest.raises(UnauthorizedError, match="InvalidCredentials"):
        platform.client().datasets.Dataset.get(platform.rid("output"))


def test_a_missing_token_is_unauthorized_in_the_envelope(platform: LocalPlatform) -> None:
    answer = httpx.get(f"{platform.url}/api/v2/datasets/x", verify=platform.tls)
    body = answer.json()
    assert answer.status_code == 401
    assert sorted(body) == ["errorCode", "errorInstanceId", "errorName", "parameters"]
    assert (body["errorCode"], body["errorName"]) == ("UNAUTHORIZED", "MissingCredentials")


def test_the_certificate_is_checked(platform: LocalPlatform) -> None:
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{platform.url}/api/v2/datasets/x")


def test_a_route_the_platform_lacks_is_not_available(platform: LocalPlatform, client: Any) -> None:
    with pytest.raises(ApiNotFoundError):
        client.datasets.Dataset.get_health_checks(platform.rid("output"), branch_name="master")


def test_another_client_hears_which_routes_are_known(platform: LocalPlatform) -> None:
    headers = {"Authorization": f"Bearer {platform.tokens.pipeline}"}
    path = "/stream-proxy/api/streams/x/branches/master/binaryRecord"
    with httpx.Client(base_url=platform.url, headers=headers, verify=platform.tls) as raw:
        unknown, wrong = raw.post(path), raw.delete("/api/v2/datasets/x")
    base = "/stream-proxy/api/streams/{dataset}/branches/{branch}"
    assert (unknown.status_code, unknown.json()["errorName"]) == (404, "Default:NotFound")
    assert unknown.json()["parameters"] == {
        "message": f"no route for POST {path}",
        "known": [f"GET {base}/records", f"POST {base}/jsonRecord", f"POST {base}/jsonRecords"],
    }
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET,HEAD")
    assert wrong.json()["parameters"]["message"] == "no route for DELETE /api/v2/datasets/x"


def test_a_disk_that_is_full_ends_the_platform_in_one_true_message(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, _: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_json", full)
    client, rid = platform.client(), platform.rid("output")
    for _ in range(2):
        with pytest.raises(InternalServerError) as caught:
            client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    told = "outputs/output/.cm/state.json cannot be written: No space left on device"
    assert json.loads(str(caught.value))["parameters"] == {"message": told}
    failure = platform.app[INCIDENTS].failure
    assert failure and failure.what == told
    assert failure.fix == "Free some space, then: cm run. What was committed is kept."
    assert caplog.text == ""


def test_oauth_client_credentials(platform: LocalPlatform) -> None:
    def client(secret: str) -> tuple[Any, ConfidentialClientAuth]:
        name = platform.environment["CLIENT_ID"]
        auth = ConfidentialClientAuth(name, secret, scopes=["api:datasets-read"])
        return FoundryClient(auth=auth, config=Config(verify=str(platform.ca))), auth

    right, auth = client(platform.environment["CLIENT_SECRET"])
    assert right.datasets.Dataset.get(platform.rid("output")).name == "output"
    issued = auth.get_token().access_token
    assert platform.tokens.valid(f"Bearer {issued}")
    auth.sign_out()
    assert not platform.tokens.valid(f"Bearer {issued}")
    wrong, _ = client("wrong")
    with pytest.raises(Exception, match="401 Unauthorized"):
        wrong.datasets.Dataset.get(platform.rid("output"))


@pytest.mark.parametrize("platform", [("429@upload", "503@list")], indirect=True)
def test_429_and_503_reach_the_client_once(platform: LocalPlatform) -> None:
    client, rid = platform.client(**QOS), platform.rid("output")
    with pytest.raises(RateLimitError):
        client.datasets.Dataset.File.upload(rid, "a.csv", b"a")
    with pytest.raises(ServiceUnavailable):
        list(client.datasets.Dataset.File.list(rid))
    client.datasets.Dataset.File.upload(rid, "a.csv", b"a")
    assert platform.faults.struck == ["429@before-upload", "503@before-list"]


@pytest.mark.parametrize("platform", [("429", "503")], indirect=True)
def test_the_clients_own_retries_get_through(platform: LocalPlatform, client: Any) -> None:
    client.datasets.Dataset.File.upload(platform.rid("output"), "a.csv", b"a")
    assert len(platform.faults.struck) == 2


@pytest.mark.parametrize("platform", [("fail@commit",)], indirect=True)
def test_a_commit_that_fails_leaves_the_transaction_open(
    platform: LocalPlatform, client: Any
) -> None:
    rid, transaction = platform.rid("output"), client.datasets.Dataset.Transaction
    opened = transaction.create(rid, transaction_type="APPEND")
    with pytest.raises(InternalServerError):
        transaction.commit(rid, opened.rid)
    assert transaction.get(rid, opened.rid).status == "OPEN"
    assert transaction.commit(rid, opened.rid).status == "COMMITTED"


@pytest.mark.parametrize("platform", [("reset@after-commit",)], indirect=True)
def test_a_reset_after_the_commit_hides_that_it_happened(
    platform: LocalPlatform, client: Any
) -> None:
    rid, transaction = platform.rid("output"), client.datasets.Dataset.Transaction
    opened = transaction.create(rid, transaction_type="APPEND")
    with pytest.raises(SDKInternalError):
        transaction.commit(rid, opened.rid)
    assert transaction.get(rid, opened.rid).status == "COMMITTED"


@pytest.mark.parametrize("platform", [("reset@mid-upload",)], indirect=True)
def test_a_cut_upload_leaves_nothing(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    with pytest.raises(SDKInternalError):
        client.datasets.Dataset.File.upload(
            rid, "a.csv", b"x" * 3_000_000, transaction_rid=opened.rid
        )
    client.datasets.Dataset.Transaction.commit(rid, opened.rid)
    assert list(client.datasets.Dataset.File.list(rid)) == []
    assert list((platform.root / "outputs/output/.cm/receiving").iterdir()) == []


@pytest.mark.parametrize("platform", [("latency=0.2@list",)], indirect=True)
def test_latency_is_every_time(platform: LocalPlatform, client: Any) -> None:
    start = time.monotonic()
    for _ in range(2):
        list(client.datasets.Dataset.File.list(platform.rid("output")))
    assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("platform", [("expire-token@upload#2",)], indirect=True)
def test_an_expired_token_is_refused_until_it_is_read_again(platform: LocalPlatform) -> None:
    async def expire() -> None:
        platform.token_file.write_text(platform.tokens.rotate())

    platform.faults.on_expire = expire
    client, rid = platform.client(), platform.rid("output")
    client.datasets.Dataset.File.upload(rid, "a.csv", b"a")
    for _ in range(2):
        with pytest.raises(UnauthorizedError):
            client.datasets.Dataset.File.upload(rid, "a.csv", b"a")
    platform.client().datasets.Dataset.File.upload(rid, "a.csv", b"a")


@pytest.mark.parametrize("platform", [("kill@mid-upload",)], indirect=True)
def test_a_kill_asks_whoever_runs_the_module(platform: LocalPlatform, client: Any) -> None:
    killed = asyncio.Event()

    async def kill() -> None:
        killed.set()

    platform.faults.on_kill = kill
    with pytest.raises(SDKInternalError):
        client.datasets.Dataset.File.upload(platform.rid("output"), "a.csv", b"a")
    assert killed.is_set()


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("laten=1", '"laten=1" is not a fault.', 'Did you mean "latency"?'),
        (
            "429@uplaod",
            '"uplaod" is not a point where a fault can strike.',
            'Did you mean "upload"?',
        ),
        (
            "latency",
            '"latency": only latency takes a value, and it needs one.',
            "Write latency=SECONDS.",
        ),
        ("kill@", '"kill@" is not a fault.', "Write KIND[=VALUE][@[PHASE-]POINT][#NUMBER]."),
    ],
)
def test_a_mistyped_fault_names_the_near_one(text: str, what: str, fix: str) -> None:
    with pytest.raises(CmError) as caught:
        parse_fault(text)
    assert (caught.value.what, caught.value.fix, caught.value.exit_code) == (what, fix, 2)
