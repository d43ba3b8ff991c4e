"""Sources on this machine: what Foundry mounts for them, made from `sources.local.toml`.

The shapes are those that the SDK reads (0.34, sources_v2) and that Foundry documents ("Sources" and
"Containers" of compute modules).
"""

from __future__ import annotations

import json
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_cm.errors import USAGE, CmError, near_miss

FILE = "sources.local.toml"
KINDS = ("rest", "s3", "generic")

# Key of a table, and what its value is.
_KEYS: dict[str, type] = {
    "kind": str,
    "url": str,
    "headers": dict,
    "query": dict,
    "secrets": dict,
    "ca": str,
    "client-certificate": dict,
    "proxy": str,
    "proxy-token": str,
    "configuration": dict,
    "aws": dict,
    "gcp": dict,
    "oauth": dict,
}
# Where a table of credentials goes in `resolvedCredentials`, and its keys there.
_AWS = {
    "access-key-id": "accessKeyId",
    "secret-access-key": "secretAccessKey",
    "session-token": "sessionToken",
    "expiration": "expiration",
}
_TOKEN = {"access-token": "accessToken", "expiration": "expiration"}


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
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise CmError(
                f"{FILE} is not TOML: {error}", where=str(file), exit_code=USAGE
            ) from None
        for name, table in tables.items():
            _check(file, name, table)
        return cls(
            secrets={name: _secrets(table) for name, table in tables.items()},
            configurations={
                name: _configuration(file, name, table) for name, table in tables.items()
            },
            proxies=tuple(
                dict.fromkeys(table["proxy"] for table in tables.values() if "proxy" in table)
            ),
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


def _check(file: Path, name: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise _wrong(file, name, "is no table", "Start each Source with its API name: [GithubApi]")
    for key, value in table.items():
        if key not in _KEYS:
            raise _wrong(file, name, f'has the key "{key}"', near_miss(key, _KEYS))
        if not isinstance(value, _KEYS[key]):
            wanted = "a table" if _KEYS[key] is dict else "a text in quotes"
            raise _wrong(file, name, f"has a {key} of the wrong type", f"Write {wanted}.")
    for key in ("headers", "query", "secrets"):
        if not all(isinstance(value, str) for value in table.get(key, {}).values()):
            raise _wrong(file, name, f"has a value in {key} that is no text", "Put it in quotes.")
    if table.get("kind", "rest") not in KINDS:
        raise _wrong(file, name, f'is of kind "{table["kind"]}"', near_miss(table["kind"], KINDS))
    if not table.get("url", "https://").startswith("https://"):
        raise _wrong(
            file, name, "has a url that is not https", "Foundry takes https addresses only."
        )


def _secrets(table: dict[str, Any]) -> dict[str, str]:
    """Foundry puts a prefix before the secrets of REST Sources (documentation, "Sources")."""
    prefix = "additionalSecret" if table.get("kind", "rest") == "rest" else ""
    return {f"{prefix}{name}": value for name, value in table.get("secrets", {}).items()}


def _configuration(file: Path, name: str, table: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {"secrets": _secrets(table)}
    if "url" in table:
        config["httpConnectionConfig"] = {
            "url": table["url"],
            "authHeaders": table.get("headers", {}),
            "queryParameters": table.get("query", {}),
        }
    if "proxy" in table:
        config["proxyToken"] = table.get("proxy-token", "local")
    if "configuration" in table:
        config["sourceConfiguration"] = table["configuration"]
    if "ca" in table:
        config["serverCertificates"] = {"ca": _pem(file, name, table["ca"])}
    if "client-certificate" in table:
        pair = table["client-certificate"]
        if set(pair) != {"certificate", "key"}:
            fix = 'Write client-certificate = { certificate = "FILE", key = "FILE" }'
            raise _wrong(file, name, "has an unusable client-certificate", fix)
        config["clientCertificate"] = {
            "pemCertificate": _pem(file, name, pair["certificate"]),
            "pemPrivateKey": _pem(file, name, pair["key"]),
        }
    if credentials := _resolved(file, name, table):
        config["resolvedCredentials"] = credentials
    return config


def _resolved(file: Path, name: str, table: dict[str, Any]) -> dict[str, Any]:
    if "aws" in table:
        given = _renamed(file, name, "aws", table["aws"], _AWS)
        kind = "sessionCredentials" if "sessionToken" in given else "basicCredentials"
        return {"cloudCredentials": {"awsCredentials": {kind: given}}}
    for key, target in (("gcp", "gcpOauthCredentials"), ("oauth", "oauth2Credentials")):
        if key in table:
            return {target: _renamed(file, name, key, table[key], _TOKEN)}
    return {}


def _renamed(
    file: Path, name: str, key: str, given: dict[str, Any], names: dict[str, str]
) -> dict[str, str]:
    for word in given:
        if word not in names:
            raise _wrong(file, name, f'has the key "{word}" in {key}', near_miss(word, names))
    shown = {names[word]: value for word, value in given.items()}
    if "sessionToken" in shown or key != "aws":
        # The SDK reads this one form of a time, and cannot do without it (0.34, sources_v2).
        shown.setdefault("expiration", "2999-01-01T00:00:00Z")
    return shown


def _pem(file: Path, name: str, path: Any) -> str:
    try:
        return (file.parent / str(path)).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        fix = "Give the path of a PEM file, from the module's folder on."
        raise _wrong(file, name, f'names the file "{path}", which cannot be read', fix) from None


def _public_authorities() -> str:
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, known))


def _wrong(file: Path, name: str, what: str, fix: str) -> CmError:
    return CmError(
        f"The Source {name} {what}", where=str(file), fix=fix, code="Sources", exit_code=USAGE
    )
