"""Sources on this machine: what Foundry mounts for them, made from `sources.local.toml`.

The shapes are those that the SDK reads (0.34, sources_v2) and that Foundry documents ("Sources" and
"Containers" of compute modules).
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import field

from foundry_cm.module.places import Place, read_file
from foundry_cm.module.records import Record, Wrong, as_record

FILE = "sources.local.toml"

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
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    ca: str | None = None
    client_certificate: Certificate | None = None
    proxy: str | None = None
    proxy_token: str = "local"  # noqa: S105  (no agent checks it here)
    configuration: dict[str, Any] | None = None
    aws: AwsKeys | None = None
    gcp: AccessToken | None = None
    oauth: AccessToken | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith("https://"):
            raise Wrong("url", "url is not an https address", "Foundry takes https addresses only.")

    @property
    def mounted_secrets(self) -> dict[str, str]:
        """Foundry puts a prefix before the secrets of REST Sources (documentation, "Sources")."""
        prefix = "additionalSecret" if self.kind == "rest" else ""
        return {f"{prefix}{name}": value for name, value in self.secrets.items()}

    def mounted(self, place: Place) -> dict[str, Any]:
        """Its configuration as Foundry mounts it; raises `CmError` for a file that is not there."""
        config: dict[str, Any] = {"secrets": self.mounted_secrets}
        if self.url is not None:
            config["httpConnectionConfig"] = {
                "url": self.url,
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

    secrets: dict[str, dict[str, str]]
    configurations: dict[str, dict[str, Any]]
    proxies: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> LocalSources | None:
        """Read `sources.local.toml` in the module's folder; None where there is none.

        Raises `CmError` that names the table and the key that cannot be used, never a value.
        """
        place = Place(folder / FILE)
        if not place.file.is_file():
            return None
        sources = as_record(dict[str, Source], read_file(place.file), place, "Sources")
        return cls(
            secrets={name: source.mounted_secrets for name, source in sources.items()},
            configurations={
                name: source.mounted(place.below(name)) for name, source in sources.items()
            },
            proxies=tuple(dict.fromkeys(s.proxy for s in sources.values() if s.proxy is not None)),
        )

    def mount(self, root: Path, authority: Path) -> dict[str, str]:
        """Write the files that Foundry mounts, and give the variables that name them.

        DEFAULT_CA_PATH holds the public authorities as well, as it must in Foundry for a Source
        that calls a public address (inferred: the official client trusts nothing else).
        """
        bundle = root / "default-ca.pem"
        bundle.write_text(authority.read_text(encoding="ascii") + _public_authorities())
        files = {
            "SOURCE_CREDENTIALS": self.secrets,
            "SOURCE_CONFIGURATIONS_PATH": self.configurations,
        }
        for name, content in files.items():
            (root / name).write_text(json.dumps(content), encoding="utf-8")
        return {name: str(root / name) for name in files} | {"DEFAULT_CA_PATH": str(bundle)}


def _pem(path: str, place: Place) -> str:
    try:
        return (place.file.parent / path).read_text(encoding="ascii")
    except (OSError, ValueError):
        # What is written there is not shown: it may be the key itself.
        fix = "Give the path of a PEM file, from the module's folder on."
        what = f"The file that {place.keys[-1]} names cannot be read"
        raise place.error(what, fix, "Sources") from None


def _public_authorities() -> str:
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, known))
