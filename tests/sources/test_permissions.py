"""Application permissions: the rendered client, with the official SDK of the platform."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest
from aiohttp import web

from foundry_cm.local.application import Application
from foundry_cm.local.platform import TOKENS
from foundry_cm.testing import CallFailed, Foundry
from tests.conftest import Render
from tests.sources.upstream import upstream

APP = """
from dataclasses import dataclass
from compute_modules.context import QueryContext
from platform_api import platform
from startup import function, start

@dataclass
class Payload:
    text: str

@dataclass
class Result:
    text: str

@function
def who(context: QueryContext, event: Payload) -> Result:
    return Result(platform().admin.User.get_current().username)

if __name__ == "__main__":
    start()
"""
USER = {"id": "00000000-0000-0000-0000-000000000000", "username": "service-user", "realm": "r",
        "status": "ACTIVE", "attributes": {}}  # fmt: skip


class Platform(Application):
    """With one call of the platform's API, which notes the tokens that it is called with."""

    seen: list[str]

    def serve(self, app: web.Application) -> None:
        super().serve(app)
        self.seen = []

        async def current(request: web.Request) -> web.Response:
            header = request.headers["Authorization"]
            self.seen.append(header)
            return web.json_response(USER, status=200 if app[TOKENS].valid(header) else 401)

        app.router.add_get("/api/v2/admin/users/getCurrent", current)


@pytest.fixture
def module(render: Render) -> Path:
    folder = render(example="blank", permissions="application")
    (folder / "src/app.py").write_text(APP)
    return folder


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    monkeypatch.setattr("foundry_cm.local.function.foundry.Application", lambda: made)
    return made


def serve(module: Path, **settings: object) -> Foundry:
    return Foundry(module, [sys.executable, "src/app.py"], **settings)


def test_the_module_acts_as_its_service_user(module: Path, platform: Platform) -> None:
    with serve(module) as foundry:
        for _ in range(3):
            assert foundry.call("who", {"text": ""}) == {"text": "service-user"}
        assert len(set(platform.seen)) == 1
        assert platform.client_secret not in foundry.output


def test_a_token_that_ends_is_renewed(
    module: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client takes a token for ended a minute before it does.
    monkeypatch.setattr("foundry_cm.local.platform.tokens.LIFETIME_SECONDS", 60)
    with serve(module) as foundry:
        for _ in range(3):
            assert foundry.call("who", {"text": ""}) == {"text": "service-user"}
    assert len(set(platform.seen)) == 3


def test_no_token_fails_the_call_and_shows_no_secret(
    module: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = platform.client_secret
    monkeypatch.setattr(
        Platform, "environment", lambda self: {"CLIENT_ID": "x", "CLIENT_SECRET": given}
    )
    with serve(module) as foundry:
        with pytest.raises(CallFailed, match="who failed on job") as failure:
            foundry.call("who", {"text": ""})
        assert "401 Unauthorized" in foundry.output
        assert given not in foundry.output + str(failure.value)


def test_without_the_permission_the_error_says_where_to_give_it(module: Path) -> None:
    settings = module / "pyproject.toml"
    settings.write_text(settings.read_text().replace('permissions = "application"\n', ""))
    with serve(module) as foundry:
        with pytest.raises(CallFailed, match="who failed on job"):
            foundry.call("who", {"text": ""})
        assert (
            "PlatformError: CLIENT_ID and CLIENT_SECRET are not set. In Foundry: Configure tab, "
            "Permissions, Application permissions, then start the module again."
        ) in foundry.output


def test_a_laptop_acts_for_a_person_on_a_real_foundry(module: Path, tmp_path: Path) -> None:
    with upstream(tmp_path) as real:
        env = {
            "FOUNDRY_HOSTNAME": urlparse(real.url).netloc,
            "FOUNDRY_TOKEN": "canary-person",
            "SSL_CERT_FILE": str(real.ca),
            "REQUESTS_CA_BUNDLE": str(real.ca),
        }
        with serve(module, env=env) as foundry:
            with pytest.raises(
                CallFailed, match="who failed on job"
            ):  # it only echoes: the answer is no user
                foundry.call("who", {"text": ""})
            assert "canary-person" not in foundry.output
        assert set(real.authorizations) == {"Bearer canary-person"}


def test_a_module_without_permissions_gets_no_credentials(render: Render) -> None:
    module = render(example="blank")
    assert not (module / "src/platform_api.py").exists()
    assert "foundry-platform-sdk" not in (module / "requirements-template.txt").read_text()
    app = module / "src/app.py"
    text = app.read_text().replace("from startup import", "import os\n\nfrom startup import")
    app.write_text(text.replace("text=event.text", 'text=str(os.environ.get("CLIENT_ID"))'))
    known = os.environ.pop("CLIENT_ID", None)
    assert known is None
    with serve(module) as foundry:
        assert foundry.call("process", {"text": ""})["text"] == "None"
