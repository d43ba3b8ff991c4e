"""Where an image is pushed: Foundry's registry of an enrollment, and what is already there."""

from __future__ import annotations

import base64
import http.client
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_cm.errors import USAGE, CmError

REPOSITORY = "REPOSITORY"
TOKEN = "TOKEN"  # noqa: S105  (the variable's name, as Foundry's page gives it)
# The variable that the official client takes the host of a Foundry from.
HOSTNAME = "FOUNDRY_HOSTNAME"

# Of palantirfoundry, the domain itself and those of countries: no longer name is Palantir's.
_ENROLLMENT = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*?)(?:-container-registry)?"
    r"(?P<domain>\.palantirfoundry\.(?:com|(?:com?\.)?[a-z]{2}))"
)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?")
_RID = re.compile(r"ri\.artifacts\.[^.\s]*\.repository\.\S+")
MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)


@dataclass(frozen=True)
class Target:
    """The place of one image: `host/image:tag`."""

    host: str
    image: str
    tag: str

    @property
    def ref(self) -> str:
        """The reference that engines take."""
        return f"{self.host}/{self.image}:{self.tag}"


def find_host(registry: str | None, enrollment: str) -> str:
    """The registry's host: as given, or that of this user's enrollment, or of the module's.

    Raises `CmError` where none is given, or one that cannot be.
    """
    if registry is None:
        return registry_host(os.environ.get(HOSTNAME) or enrollment)
    if not _HOST.fullmatch(registry):
        raise CmError(
            f'"{registry}" is not the host of a registry',
            where="--registry",
            fix="Give the host that the Publish page of the Artifacts repository shows.",
            code="Host",
            exit_code=USAGE,
        )
    return registry


def missing_trust(registry: str | None, enrollment: str) -> Iterator[CmError]:
    """Why the token may not go to that registry; empty where this user has named it here.

    A module may come from a stranger, and its pyproject.toml name a host of theirs.
    """
    own = os.environ.get(HOSTNAME, "")
    if registry is not None or not enrollment:
        return
    host = registry_host(enrollment)
    if not own:
        yield CmError(
            f"only pyproject.toml names {host}, and {TOKEN} would be sent there",
            where="environment",
            fix=f"If it is your Foundry: export {HOSTNAME}={enrollment}, or pass --registry {host}.",
            code="Host",
            exit_code=USAGE,
        )
    elif registry_host(own) != host:
        yield CmError(
            f"pyproject.toml is for {host}, and {HOSTNAME} for {registry_host(own)}",
            where="environment",
            fix="Correct the one that is wrong, or pass --registry.",
            code="Host",
            exit_code=USAGE,
        )


def registry_host(enrollment: str) -> str:
    """The registry of an enrollment: `acme.palantirfoundry.com` has `acme-container-registry...`.

    Source: Foundry documentation, "Functions" of compute modules (the build plan's registry).
    Takes a pasted address as well. Raises `CmError` for a host of another domain, whose registry
    the documentation does not name.
    """
    host = re.sub(r"^https?://", "", enrollment.strip().lower()).split("/")[0]
    match = _ENROLLMENT.fullmatch(host)
    if match is None:
        raise CmError(
            f'the registry of "{host}" cannot be derived from its name'
            if host
            else "the enrollment's host is not known",
            where=f"{HOSTNAME}, or enrollment-host in pyproject.toml",
            fix=f"Set {HOSTNAME} to your enrollment, such as acme.palantirfoundry.com; "
            "or pass --registry with the host that the Artifacts repository's Publish page shows.",
            code="Host",
            exit_code=USAGE,
        )
    return f"{match['name']}-container-registry{match['domain']}"


def missing_login() -> Iterator[CmError]:
    """What the environment lacks to log in; empty when REPOSITORY and TOKEN are usable."""
    page = "The page Publish > Docker of the Artifacts repository in Foundry"
    repository, token = os.environ.get(REPOSITORY, ""), os.environ.get(TOKEN, "")
    if not repository:
        yield _login(
            f"{REPOSITORY} is not set", f"{page} shows it: export {REPOSITORY}=ri.artifacts..."
        )
    elif not _RID.fullmatch(repository):
        yield _login(
            f"{REPOSITORY} is no Artifacts repository: {repository}",
            f"{page} shows it; it starts with ri.artifacts.",
        )
    if not token:
        yield _login(
            f"{TOKEN} is not set",
            f"{page} generates it (its owner needs Edit on the repository): export {TOKEN}=...",
        )
    elif token != token.strip() or "\n" in token:
        yield _login(
            f"{TOKEN} has white space around it", f"Set {TOKEN} again, without a line end."
        )


def published_digest(target: Target) -> str | None:
    """The digest that the registry holds under this tag; None when it has none or will not say.

    Asks as the OCI distribution specification says (HEAD of the manifest), with the login that the
    push uses. Only a hint: a registry that wants another kind of login gives None.
    """
    login = f"{os.environ[REPOSITORY]}:{os.environ[TOKEN]}".encode()
    headers = {
        "Accept": MANIFESTS,
        "Authorization": "Basic " + base64.b64encode(login).decode(),
    }
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(target.host, timeout=10, context=context)
    try:
        connection.request("HEAD", f"/v2/{target.image}/manifests/{target.tag}", headers=headers)
        response = connection.getresponse()
        return response.getheader("Docker-Content-Digest") if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _login(what: str, fix: str) -> CmError:
    return CmError(what, where="environment", fix=fix, code="Login", exit_code=USAGE)
