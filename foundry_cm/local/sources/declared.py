"""The Sources of a module, and what Foundry mounts for them, made from `sources.local.toml`.

The shapes are those that the SDK reads (0.34, sources_v2) and that Foundry documents ("Sources" and
"Containers" of compute modules).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.module.places import Place, read_file
from foundry_cm.module.records import Record, Wrong, as_record

FILE = "sources.local.toml"

# Where a stand-in may be without TLS: on this machine.
_HERE = re.compile(r"http://(localhost|127(?:\.\d+){3}|\[::1\])(:\d+)?(/.*)?", re.IGNORECASE)

# The SDK reads this one form of a time, and cannot do without one (0.34, sources_v2).
_NEVER = "2999-01-01T00:00:00Z"


class Certificate(Record, frozen=True, kw_only=True):
    """The files of a client certificate."""

    certificate: str
    key: str


class AwsKeys(Record, frozen=True, kw_only=True):
    """Keys for AWS; with a token they are those of a session."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expiration: str = _NEVER

    def resolved(self) -> dict[str, Any]:
        """As Foundry mounts them."""
        keys = {"accessKeyId": self.access_key_id, "secretAccessKey": self.secret_access_key}
        if self.session_token is None:
            return {"cloudCredentials": {"awsCredentials": {"basicCredentials": keys}}}
        session = keys | {"sessionToken": self.session_token, "expiration": self.expiration}
        return {"cloudCredentials": {"awsCredentials": {"sessionCredentials": session}}}


class AccessToken(Record, frozen=True, kw_only=True):
    """A token that Foundry gets for the module."""

    access_token: str
    expiration: str = _NEVER

    def resolved(self) -> dict[str, str]:
        """As Foundry mounts it."""
        return {"accessToken": self.access_token, "expiration": self.expiration}


class Source(Record, frozen=True, kw_only=True):
    """One Source, under its API name."""

    kind: Literal["rest", "s3", "generic"] = "rest"
    url: str | None = None
    answers: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)
    secrets: dict[str, str] = msgspec.field(default_factory=dict)
    ca: str | None = None
    client_certificate: Certificate | None = None
    proxy: str | None = None
    proxy_token: str = "local"  # noqa: S105  (no agent checks it here)
    configuration: dict[str, Any] | None = None
    aws: AwsKeys | None = None
    gcp: AccessToken | None = None
    oauth: AccessToken | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not (
            self.url.startswith("https://") or _HERE.fullmatch(self.url)
        ):
            fix = "Foundry takes https addresses only; a stand-in on this machine is http://127.0.0.1:PORT."
            raise Wrong("url", "url is not an https address", fix)

    @property
    def stands_in(self) -> bool:
        """Whether something on this machine answers in its place."""
        return self.answers is not None or (self.url or "").startswith("http:")

    @property
    def mounted_secrets(self) -> dict[str, str]:
        """Foundry puts a prefix before the secrets of REST Sources (documentation, "Sources")."""
        prefix = "additionalSecret" if self.kind == "rest" else ""
        return {f"{prefix}{name}": value for name, value in self.secrets.items()}

    def mounted(self, place: Place) -> dict[str, Any]:
        """Its configuration as Foundry mounts it; raises `CmError` for a file that is not there."""
        config: dict[str, Any] = {"secrets": self.mounted_secrets}
        if self.url is not None or self.stands_in:
            config["httpConnectionConfig"] = {
                "url": self.url or "",
                "authHeaders": self.headers,
                "queryParameters": self.query,
            }
        if self.proxy is not None:
            config["proxyToken"] = self.proxy_token
        if self.configuration is not None:
            config["sourceConfiguration"] = self.configuration
        if self.ca is not None:
            config["serverCertificates"] = {"ca": _pem(self.ca, place.below("ca"))}
        if pair := self.client_certificate:
            inside = place.below("client-certificate")
            config["clientCertificate"] = {
                "pemCertificate": _pem(pair.certificate, inside.below("certificate")),
                "pemPrivateKey": _pem(pair.key, inside.below("key")),
            }
        if credentials := self._credentials():
            config["resolvedCredentials"] = credentials
        return config

    def _credentials(self) -> dict[str, Any]:
        if self.aws:
            return self.aws.resolved()
        if self.gcp:
            return {"gcpOauthCredentials": self.gcp.resolved()}
        return {"oauth2Credentials": self.oauth.resolved()} if self.oauth else {}


@dataclass(frozen=True)
class LocalSources:
    """The Sources of a module: what is mounted for each one, and the proxies that they name."""

    tables: dict[str, Source]
    configurations: dict[str, dict[str, Any]]
    # The names of those whose answers are recorded.
    recorded: Sequence[str] = ()
    folder: Path = field(default_factory=Path)

    @classmethod
    def read(
        cls,
        folder: Path,
        given: Mapping[str, Any] | None = None,
        record: Sequence[str] = (),
    ) -> LocalSources | None:
        """Read `sources.local.toml` in the module's folder, or take what a test gives in its place.

        None where there is neither. Raises `CmError` that names the table and the key that cannot be
        used, never a value.
        """
        place = Place(folder / (FILE if given is None else "sources, as the test gives them"))
        if given is None and not place.file.is_file():
            if record:
                raise _not_recordable(record[0], f"There is no {FILE}", str(folder))
            return None
        found = read_file(place.file) if given is None else dict(given)
        tables = as_record(dict[str, Source], found, place, "Sources")
        for name in record:
            _check_recordable(name, tables, place)
        mounted = {name: source.mounted(place.below(name)) for name, source in tables.items()}
        return cls(tables, mounted, record, folder)

    @property
    def stand_in(self) -> dict[str, Source]:
        """Those in whose place something on this machine answers."""
        return {name: source for name, source in self.tables.items() if source.stands_in}

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """Their secrets, as Foundry mounts them."""
        return {name: source.mounted_secrets for name, source in self.tables.items()}

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies of agents."""
        named = (source.proxy for source in self.tables.values() if source.proxy is not None)
        return tuple(dict.fromkeys(named))

    def move(self, name: str, address: str) -> None:
        """Give the module another address for a Source."""
        self.configurations[name]["httpConnectionConfig"]["url"] = address

    def mount(self, root: Path) -> dict[str, str]:
        """Write the files that Foundry mounts, and give the variables that name them."""
        files = {
            "SOURCE_CREDENTIALS": self.secrets,
            "SOURCE_CONFIGURATIONS_PATH": self.configurations,
        }
        for name, content in files.items():
            (root / name).write_text(json.dumps(content), encoding="utf-8")
        return {name: str(root / name) for name in files}


def _check_recordable(name: str, tables: Mapping[str, Source], place: Place) -> None:
    if name not in tables:
        raise CmError(
            f'There is no Source "{name}" to record',
            where=str(place.file),
            fix=near_miss(name, tables),
            code="Sources",
            exit_code=USAGE,
        )
    if tables[name].url is None or tables[name].answers is None:
        raise _not_recordable(
            name, f'The Source "{name}" cannot be recorded', str(place.below(name))
        )


def _not_recordable(name: str, what: str, where: str) -> CmError:
    fix = f"Write [{name}] with url, the address to ask, and answers, the folder to write to."
    return CmError(what, where=where, fix=fix, code="Sources", exit_code=USAGE)


def _pem(path: str, place: Place) -> str:
    try:
        return (place.file.parent / path).read_text(encoding="ascii")
    except (OSError, ValueError):
        # What is written there is not shown: it may be the key itself.
        fix = "Give the path of a PEM file, from the module's folder on."
        what = f"The file that {place.keys[-1]} names cannot be read"
        raise place.error(what, fix, "Sources") from None
