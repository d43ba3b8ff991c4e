"""What a registry has under the name of an image, asked as the OCI distribution specification says.

No engine is needed. The logins are those that docker and podman keep for this user.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from foundry_cm.errors import CmError
from foundry_cm.image.registry import MANIFESTS

_HUB = "docker.io"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_SECONDS = 20


@dataclass(frozen=True)
class Name:
    """An image's name in full: the registry, the path in it, and the tag."""

    registry: str
    path: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """A name as people write it: `python:3.13-slim` is one of Docker Hub."""
        first, slash, rest = text.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            first, rest = _HUB, text if slash else f"library/{text}"
        path, _, tag = rest.partition(":")
        if first == _HUB and "/" not in path:
            path = f"library/{path}"
        return cls(first, path, tag or "latest")

    @property
    def address(self) -> str:
        """Where the registry says what is under the tag."""
        host = "registry-1.docker.io" if self.registry == _HUB else self.registry
        return f"https://{host}/v2/{self.path}/manifests/{self.tag}"


def digest_of(image: str, where: str) -> str:
    """The digest that an image's registry has under its name and tag.

    Raises `CmError` that names the line of the Dockerfile, and the way without a registry.
    """
    name = Name.parse(image)
    try:
        login = _login(name.registry)
        basic = f"Basic {base64.b64encode(login.encode()).decode()}" if login else None
        try:
            headers = _ask(name.address, basic)
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or not challenge.lower().startswith("bearer "):
                raise
            headers = _ask(name.address, f"Bearer {_token(challenge, basic)}")
        digest = headers.get("Docker-Content-Digest", "")
        reason = "its answer has none"
    except urllib.error.HTTPError as error:
        digest, reason = "", f"it answers {error.code} {error.reason}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        digest, reason = "", str(getattr(error, "reason", error))
    if not _DIGEST.fullmatch(digest):
        raise CmError(
            f"The registry of {image} gives no digest for its tag: {reason}",
            where=f"{where} (asked {name.registry})",
            fix="Name a mirror that this machine reaches, log in to it, or lock without the base "
            "image: cm lock --no-base",
            code="BaseImage",
        )
    return digest


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow none: the login would go along to another host."""


def _open(address: str, login: str | None, method: str) -> tuple[Message, bytes]:
    if not address.startswith("https://"):
        raise ValueError(f"{address} is not https")
    headers = {"Accept": MANIFESTS} | ({"Authorization": login} if login else {})
    request = urllib.request.Request(address, headers=headers, method=method)  # noqa: S310
    context = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(context, _NoRedirect)
    with opener.open(request, timeout=_SECONDS) as response:
        return response.headers, response.read()


def _ask(address: str, login: str | None) -> Message:
    return _open(address, login, "HEAD")[0]


def _token(challenge: str, login: str | None) -> str:
    """The token that a registry wants, from where it says; many give one to everybody."""
    wanted = dict(_CHALLENGE.findall(challenge))
    query = {key: wanted[key] for key in ("service", "scope") if key in wanted}
    address = f"{wanted.get('realm', '')}?{urllib.parse.urlencode(query)}"
    answer = json.loads(_open(address, login, "GET")[1])
    token = (
        (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    )
    if not token:
        raise ValueError(f"{wanted.get('realm')} gives no token")
    return str(token)


def _login(registry: str) -> str | None:
    """`USER:PASSWORD` for a registry, as `docker login` and `podman login` keep it."""
    host = "https://index.docker.io/v1/" if registry == _HUB else registry
    for file in _login_files():
        try:
            settings = json.loads(file.read_text("utf-8"))
            helper = settings.get("credHelpers", {}).get(registry) or settings.get("credsStore")
            kept = settings.get("auths", {})
            auth = next(
                (kept[key]["auth"] for key in (host, registry) if "auth" in kept.get(key, {})), ""
            )
        except (OSError, ValueError, AttributeError, TypeError):
            continue
        if auth:
            return base64.b64decode(auth).decode("utf-8", errors="replace")
        if helper and (login := _from_helper(str(helper), host)):
            return login
    return None


def _login_files() -> list[Path]:
    docker = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    places = [os.environ.get("REGISTRY_AUTH_FILE"), str(docker)]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(f"{runtime}/containers/auth.json")
    return [Path(place) for place in places if place]


def _from_helper(helper: str, host: str) -> str | None:
    """What a credential helper of the user's own configuration answers."""
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        return None
    done = subprocess.run((program, "get"), input=host, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except ValueError:
        return None
    user, secret = answer.get("Username"), answer.get("Secret")
    return f"{user}:{secret}" if user and secret else None
