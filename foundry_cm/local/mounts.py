"""The certificate, files and variables that Foundry gives a replica (foundry docs: containers page)."""

from __future__ import annotations

import json
import os
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from foundry_cm.local.authorities import NAMED_BY, public_authorities
from foundry_cm.local.sources.declared import LocalSources

_ROUTE = "/interactive-module/api/internal-query"
JOB_PATH = f"{_ROUTE}/job"
RESULT_PATH = f"{_ROUTE}/results"
SCHEMA_PATH = f"{_ROUTE}/schemas"
RESTART_PATH = f"{_ROUTE}/restart"


@dataclass(frozen=True)
class Mounts:
    """A directory with the files that replicas read, and the CA behind the TLS servers."""

    root: Path
    authority: trustme.CA
    sources: LocalSources | None = None
    # Files of authorities that a person passes on, as PEM.
    named: str = ""
    # The authority of what stands in for systems outside, where public ones would vouch for those.
    outside: trustme.CA = field(default_factory=trustme.CA, init=False)
    module_rid: str = field(
        default_factory=lambda: f"ri.foundry.main.deployed-app.{uuid.uuid4()}", init=False
    )

    @classmethod
    def create(cls, root: Path, sources: LocalSources | None = None, named: str = "") -> Mounts:
        """Make the folder and the certificate authority, and write its certificate."""
        root.mkdir(mode=0o755)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(root / "ca.pem")
        return cls(root, authority, sources, named)

    @property
    def ca(self) -> Path:
        """The certificate that a client of the local Foundry verifies against."""
        return self.root / "ca.pem"

    def trusted(self) -> dict[str, str]:
        """The variables that tell clients whom to trust beyond the local Foundry; the files are written.

        DEFAULT_CA_PATH holds the public authorities as well, as it must in Foundry for a Source that
        calls a public address (inferred: the official client trusts nothing else). Clients without
        settings trust the public ones, and those of stand-ins where there are any.
        """
        own = self.ca.read_text("ascii")
        stands_in = self.sources is not None and self.sources.stand_in
        added = self.named + (self.outside.cert_pem.bytes().decode() if stands_in else "")
        found = {"DEFAULT_CA_PATH": str(self.ca)}
        if self.sources:
            found["DEFAULT_CA_PATH"] = self.write(
                "default-ca.pem", own + added + public_authorities()
            )
        if added:
            clients = self.write("clients-ca.pem", added + public_authorities())
            found |= dict.fromkeys(NAMED_BY, clients)
        # Node reads the CA of the runtime from here: its SDK has no setting for it.
        found["NODE_EXTRA_CA_CERTS"] = self.write("node-ca.pem", own + added)
        return found

    def write(self, name: str, text: str) -> str:
        """Write a file in one step, so that a reader never sees half of it; gives its path."""
        file = self.root / name
        file.parent.mkdir(exist_ok=True)
        draft = file.with_name(f"{file.name}.new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
        return str(file)

    def common(self, platform: str, session: str) -> dict[str, str]:
        """The variables of a replica in either mode; `platform` is the host and port of its API.

        CONNECTIONS_TO_OTHER_PODS_CA_PATH and FOUNDRY_SERVICE_DISCOVERY_V2 are not on the documented
        list, but the SDK (0.34) reads them.
        """
        proxies = self.sources.proxies if self.sources else ()
        return {
            "FOUNDRY_SERVICE_DISCOVERY_V2": self.write(
                "FOUNDRY_SERVICE_DISCOVERY_V2", _service_discovery(platform, proxies)
            ),
            "CONNECTIONS_TO_OTHER_PODS_CA_PATH": str(self.ca),
            "COMPUTE_SESSION_ID": session,
            "FOUNDRY_COMPUTE_MODULE_RID": self.module_rid,
            "PYTHONUNBUFFERED": "1",
            # A crash, and a call without an end, say where they stand.
            "PYTHONFAULTHANDLER": "1",
            **_no_proxy(),
            **(self.sources.mount(self.root) if self.sources else {}),
            **self.trusted(),
        }


def new_session() -> str:
    """The id of one replica's session."""
    return f"ses-{uuid.uuid4()}"


@dataclass(frozen=True)
class ReplicaIdentity:
    """What tells one replica from another: its number, its session and its token."""

    index: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    session: str = field(default_factory=new_session)


def runtime_environment(
    mounts: Mounts, replica: ReplicaIdentity, *, runtime: str, concurrency: int
) -> dict[str, str]:
    """The variables by which a replica, in either mode, finds its runtime; the token is written first.

    `runtime` is a host with its port. RESTART_NOTIFICATION_URI is not on the documented list, but the
    SDK (0.34) does not start without it.
    """
    host, _, port = runtime.rpartition(":")
    return {
        "RUNTIME_HOST": host,
        "RUNTIME_PORT": port,
        "RUNTIME_API": runtime,
        "GET_JOB_PATH": JOB_PATH,
        "POST_RESULT_PATH": RESULT_PATH,
        "GET_JOB_URI": f"https://{runtime}{JOB_PATH}",
        "POST_RESULT_URI": f"https://{runtime}{RESULT_PATH}",
        "POST_SCHEMA_URI": f"https://{runtime}{SCHEMA_PATH}",
        "RESTART_NOTIFICATION_URI": f"https://{runtime}{RESTART_PATH}",
        # Without a newline: the SDK puts the text into a header as it is.
        "MODULE_AUTH_TOKEN": mounts.write(
            f"replica-{replica.index}/MODULE_AUTH_TOKEN", replica.token
        ),
        "MAX_CONCURRENT_TASKS": str(concurrency),
    }


def function_environment(
    mounts: Mounts, replica: ReplicaIdentity, *, runtime: str, platform: str, concurrency: int
) -> dict[str, str]:
    """The variables of a replica that answers calls; those that name a file have it written first.

    `runtime` and `platform` are hosts with their ports.
    """
    return {
        **runtime_environment(mounts, replica, runtime=runtime, concurrency=concurrency),
        **mounts.common(platform, replica.session),
    }


def pipeline_environment(
    mounts: Mounts, *, platform: str, token: str, aliases: dict[str, Any]
) -> dict[str, str]:
    """The variables of a pipeline's replica; the files behind them are written first.

    BUILD2_TOKEN and RESOURCE_ALIAS_MAP name files (foundry docs: containers and execution modes).
    FOUNDRY_URL is a host name that the owner of a module asks for ("Add Foundry URL"); here it has a
    port. In Foundry a public authority vouches for that host, so a client trusts it without settings.
    """
    common = mounts.common(platform, new_session())
    known = Path(common.get(NAMED_BY[0]) or mounts.write("public-ca.pem", public_authorities()))
    trusted = mounts.write(
        "trusted-ca.pem", mounts.ca.read_text("ascii") + known.read_text("ascii")
    )
    return {
        "BUILD2_TOKEN": mounts.write("BUILD2_TOKEN", token),
        "RESOURCE_ALIAS_MAP": mounts.write("RESOURCE_ALIAS_MAP", json.dumps(aliases)),
        "FOUNDRY_URL": platform,
        **common,
        **dict.fromkeys(NAMED_BY, trusted),
    }


def _service_discovery(address: str, proxies: Sequence[str]) -> str:
    services = {
        "api_gateway": "/api",
        "stream_proxy": "/stream-proxy/api",
        "multipass": "/multipass/api",
        "foundry_mio": "/mio/api",
        "contour_backend_multiplexer": "/contour-backend-multiplexer/api",
    }
    lines = [f'{name}: ["https://{address}{path}"]\n' for name, path in services.items()]
    return "".join(lines) + f"on_prem_proxy: {json.dumps(list(proxies))}\n"


def _no_proxy() -> dict[str, str]:
    """Keep calls to the local Foundry away from a proxy that this machine uses for the rest."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    hosts = ",".join(filter(None, [known, "localhost", "127.0.0.1"]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}
