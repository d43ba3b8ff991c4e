"""A token goes to the host that its user named, and into no message."""

from pathlib import Path

import pytest
import requests

from foundry_cm.errors import CmError
from foundry_cm.weights.hub import hub_session
from foundry_cm.weights.lock import WeightsError
from tests.models.conftest import Module
from tests.models.hub import Hub, replies
from tests.models.weights import SAFETENSORS, fetch, lock_of, pull_into

pytestmark = pytest.mark.usefixtures("no_waiting")

TOKEN = "hf_canary"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def authorization(url: str) -> str | None:
    """What a session for an address sends."""
    prepared = hub_session(url).prepare_request(requests.Request("GET", url))
    return prepared.headers.get("Authorization")


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(hub: Hub, module: Module) -> None:
    pull_into(module)
    for request in hub.seen:
        own = "/storage/" not in request.path
        assert request.headers.get("Authorization") == (f"Bearer {TOKEN}" if own else None)


def test_a_lock_that_names_another_hub_gets_no_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    fetch(lock_of(hub), tmp_path)
    assert set(hub.sent("Authorization")) == {None}


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://huggingface.co/acme/small/resolve/main/", f"Bearer {TOKEN}"),
        ("https://huggingface.co.evil.example/acme/small/", None),
        ("https://huggingface.com/acme/small/", None),
        ("https://huggingface.co:8443/acme/small/", None),
        ("https://huggingface.co@evil.example/", None),
        ("https://evil.example/https://huggingface.co/", None),
        ("http://huggingface.co/acme/small/", None),
    ],
)
def test_hosts_are_matched_whole(
    monkeypatch: pytest.MonkeyPatch, url: str, sent: str | None
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert authorization(url) == sent


def test_the_login_of_netrc_never_takes_the_place_of_the_token(
    hub: Hub, module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login u password canary\ndefault login u password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    pull_into(module)
    assert set(hub.sent("Authorization")) == {f"Bearer {TOKEN}", None}
    hub.clear()
    module.ask(origin="https", url=f"{hub.url}/plain/small", files=[SAFETENSORS])
    pull_into(module)
    assert set(hub.sent("Authorization")) == {None}


def test_white_space_around_a_token_is_taken_off(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", f" {TOKEN}\r\n")
    pull_into(module)
    assert hub.sent("Authorization")[0] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("token", [f"{TOKEN}\nX-Evil: 1", f"{TOKEN} {TOKEN}", f"{TOKEN}é"])
def test_what_is_no_token_is_refused_and_not_shown(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == "HF_TOKEN is not a token"
    assert TOKEN not in str(vars(refused.value))
    assert hub.requests == []


def test_a_login_in_an_address_is_refused_and_never_locked(hub: Hub, module: Module) -> None:
    address = hub.url.replace("https://", f"https://me:{TOKEN}@")
    module.ask(origin="https", url=f"{address}/plain/small", files=[SAFETENSORS])
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == "url holds a user name or a password"
    assert TOKEN not in str(vars(refused.value))
    assert not (module.folder / "weights.lock").exists()


def test_a_login_in_hf_endpoint_is_refused_and_never_locked(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("https://", f"https://me:{TOKEN}@"))
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == "HF_ENDPOINT holds a user name or a password"
    assert TOKEN not in str(vars(refused.value))


@pytest.mark.parametrize("update", [False, True])
def test_a_redirect_to_plain_http_is_refused(hub: Hub, module: Module, update: bool) -> None:
    pull_into(module)
    for name in ("config.json", SAFETENSORS):
        (module.folder / "models" / name).unlink()
        hub.fail(name, replies(302, b"", Location=f"http://localhost:1/{name}"))
    with pytest.raises(CmError) as refused:
        pull_into(module, update=update)
    assert refused.value.what == "localhost redirects to an address that is not https"


def test_a_replica_follows_no_redirect_to_plain_http(hub: Hub, tmp_path: Path) -> None:
    hub.fail(SAFETENSORS, replies(302, b"", Location="http://localhost:1/x"))
    with pytest.raises(WeightsError, match="redirects to an address that is not https"):
        fetch(lock_of(hub), tmp_path)


def test_a_proxy_with_a_login_is_not_shown(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{TOKEN}@localhost:1")
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == (
        "the proxy before localhost does not let it through ([Errno 111] Connection refused), "
        "8 times in a row"
    )
    assert refused.value.fix == "Correct HTTPS_PROXY, or name the host in NO_PROXY."
    assert TOKEN not in str(vars(refused.value))


def test_a_socks_proxy_without_its_package_says_what_to_install(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://me:{TOKEN}@localhost:1")
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == "a SOCKS proxy needs the package PySocks"
    assert refused.value.fix == "Run `pip install pysocks`, or name another proxy in HTTPS_PROXY."
    assert TOKEN not in str(vars(refused.value))
