"""Application permissions: the rendered client, with the official SDK of the platform."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest

from foundry_cm.local.platform import access
from foundry_cm.local.platform.access import Tokens
from foundry_cm.local.platform.resources import Resource
from foundry_cm.testing import CallFailed, Foundry
from tests.conftest import Render
from tests.sources.upstream import upstream

APP = """
from dataclasses import dataclass
from compute_modules.context import QueryContext
from cmkit import function, start
from cmkit.platform import platform

@dataclass
class Payload:
    rid: str

@dataclass
class Result:
    name: str

@function
def name_of(context: QueryContext, event: Payload) -> Result:
    return Result(platform().datasets.Dataset.get(event.rid).name)

if __name__ == "__main__":
    start()
"""
PARTS = {"rid": Resource("parts").rid}


@pytest.fixture
def module(render: Render) -> Path:
    folder = render(example="blank", permissions="application")
    (folder / "src/app.py").write_text(APP)
    (folder / "data/parts").mkdir(parents=True)
    return folder


def serve(module: Path, **settings: object) -> Foundry:
    return Foundry(module, [sys.executable, "src/app.py"], **settings)


def test_the_module_acts_as_its_service_user(module: Path) -> None:
    with serve(module) as foundry:
        for _ in range(3):
            assert foundry.call("name_of", PARTS) == {"name": "parts"}
        tokens = foundry.local.tokens
        assert len(tokens.issued) == 1
        for secret in (*tokens.clients.values(), *tokens.issued):
            assert secret not in foundry.output
        # Its HTTP client has a line for each request, which LOG_LEVEL=debug shows.
        assert "HTTP Request" not in foundry.output


def test_a_token_that_ends_is_renewed(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client takes a token for ended a minute before it does.
    monkeypatch.setattr(access, "LIFETIME_SECONDS", 60)
    with serve(module) as foundry:
        for _ in range(3):
            assert foundry.call("name_of", PARTS) == {"name": "parts"}
        assert len(foundry.local.tokens.issued) == 3


def test_a_token_that_has_ended_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens()
    assert tokens.valid(f"Bearer {tokens.issue()}")
    monkeypatch.setattr(access, "LIFETIME_SECONDS", 0)
    assert not tokens.valid(f"Bearer {tokens.issue()}")


def test_no_token_fails_the_call_and_shows_no_secret(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Tokens, "register", lambda _: {"CLIENT_ID": "x", "CLIENT_SECRET": "canary-secret"}
    )
    with serve(module) as foundry:
        with pytest.raises(CallFailed, match="name_of failed on job") as failure:
            foundry.call("name_of", PARTS)
        assert "401 Unauthorized" in foundry.output
        assert "canary-secret" not in foundry.output + str(failure.value)


def test_without_the_permission_the_error_says_where_to_give_it(module: Path) -> None:
    settings = module / "pyproject.toml"
    settings.write_text(settings.read_text().replace('permissions = "application"\n', ""))
    with serve(module) as foundry:
        with pytest.raises(CallFailed, match="name_of failed on job"):
            foundry.call("name_of", PARTS)
        assert (
            "PlatformError: CLIENT_ID and CLIENT_SECRET are not set. In Foundry: Configure tab, "
            "Permissions, Application permissions, then start the module again."
        ) in foundry.output


def test_a_laptop_with_a_persons_token_stays_with_the_local_platform(
    module: Path, tmp_path: Path
) -> None:
    with upstream(tmp_path) as real:
        # As if somebody had passed them on by name: even then the client does not look at them.
        person = {
            "FOUNDRY_HOSTNAME": urlparse(real.url).netloc,
            "FOUNDRY_TOKEN": "canary-person",
            "SSL_CERT_FILE": str(real.ca),
        }
        with serve(module, env=person) as foundry:
            assert foundry.call("name_of", PARTS) == {"name": "parts"}
            assert "canary-person" not in foundry.output
        assert real.authorizations == []


def test_a_module_without_permissions_gets_no_credentials(render: Render) -> None:
    module = render(example="blank")
    assert not (module / "src/cmkit/platform.py").exists()
    assert "foundry-platform-sdk" not in (module / "requirements-template.txt").read_text()
    app = module / "src/app.py"
    text = app.read_text().replace("from cmkit import", "import os\n\nfrom cmkit import")
    app.write_text(text.replace("text=event.text", 'text=str(os.environ.get("CLIENT_ID"))'))
    known = os.environ.pop("CLIENT_ID", None)
    assert known is None
    with serve(module) as foundry:
        assert foundry.call("process", {"text": ""})["text"] == "None"
