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

from foundry_cm.local.sources import LocalSources

_ROUTE = "/interactive-module/api/internal-query"
JOB_PATH = f"{_ROUTE}/job"
RESULT_PATH = f"{_ROUTE}/results"
SCHEMA_PATH = f"{_ROUTE}/schemas"
RESTART_PATH = f"{_ROUTE}/restart"


@dataclass(frozen=True)
class Mounts:
    """A directory with the files that replicas read, and the CA behind the TLS server."""

    root: Path
    authority: trustme.CA

    @classmethod
    def create(cls, root: Path) -> Mounts:
        """Make the folder and the certificate authority, and write its certificate."""
        root.mkdir(mode=0o755)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(root / "ca.pem")
        return cls(root, authority)

    @property
    def ca(self) -> Path:
        """The certificate that a client of the local Foundry verifies against."""
        return self.root / "ca.pem"


@dataclass(frozen=True)
class ReplicaIdentity:
    """What tells one replica from another: its number, its session and its token."""

    index: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    session: str = field(default_factory=lambda: f"ses-{uuid.uuid4()}")


def environment(
    mounts: Mounts,
    replica: ReplicaIdentity,
    *,
    module_rid: str,
    host: str,
    port: int,
    concurrency: int,
    sources: LocalSources | None = None,
) -> dict[str, str]:
    """The variables of a function-mode replica; those that name a file have it written first.

    CONNECTIONS_TO_OTHER_PODS_CA_PATH, RESTART_NOTIFICATION_URI and FOUNDRY_SERVICE_DISCOVERY_V2 are
    not on the documented list, but the SDK (0.34) reads them, the first two unconditionally.
    """
    folder = mounts.root / f"replica-{replica.index}"
    folder.mkdir(exist_ok=True)
    # Without a newline: the SDK puts the text into a header as it is.
    (folder / "MODULE_AUTH_TOKEN").write_text(replica.token, encoding="utf-8")
    address = f"{host}:{port}"
    discovery = mounts.root / "FOUNDRY_SERVICE_DISCOVERY_V2"
    discovery.write_text(
        _service_discovery(address, sources.proxies if sources else ()), encoding="utf-8"
    )
    return {
        "RUNTIME_HOST": host,
        "RUNTIME_PORT": str(port),
        "RUNTIME_API": address,
        "GET_JOB_PATH": JOB_PATH,
        "POST_RESULT_PATH": RESULT_PATH,
        "GET_JOB_URI": f"https://{address}{JOB_PATH}",
        "POST_RESULT_URI": f"https://{address}{RESULT_PATH}",
        "POST_SCHEMA_URI": f"https://{address}{SCHEMA_PATH}",
        "RESTART_NOTIFICATION_URI": f"https://{address}{RESTART_PATH}",
        "MODULE_AUTH_TOKEN": str(folder / "MODULE_AUTH_TOKEN"),
        "DEFAULT_CA_PATH": str(mounts.ca),
        "CONNECTIONS_TO_OTHER_PODS_CA_PATH": str(mounts.ca),
        "FOUNDRY_SERVICE_DISCOVERY_V2": str(discovery),
        "MAX_CONCURRENT_TASKS": str(concurrency),
        "COMPUTE_SESSION_ID": replica.session,
        "FOUNDRY_COMPUTE_MODULE_RID": module_rid,
        # Node reads the CA from here: its SDK has no setting for it.
        "NODE_EXTRA_CA_CERTS": str(mounts.ca),
        "PYTHONUNBUFFERED": "1",
        **_no_proxy(),
        **(sources.mount(mounts.root, mounts.ca) if sources else {}),
    }


def pipeline_environment(
    mounts: Mounts,
    *,
    token: str,
    aliases: dict[str, Any],
    module_rid: str,
    port: int,
    sources: LocalSources | None = None,
) -> dict[str, str]:
    """The variables of a pipeline-mode replica; the files behind them are written first.

    BUILD2_TOKEN and RESOURCE_ALIAS_MAP name files (foundry docs: containers and execution modes). The
    routes of jobs are left out: a pipeline answers no calls.
    """
    (mounts.root / "RESOURCE_ALIAS_MAP").write_text(json.dumps(aliases), encoding="utf-8")
    renew_pipeline_token(mounts, token)
    discovery = mounts.root / "FOUNDRY_SERVICE_DISCOVERY_V2"
    proxies = sources.proxies if sources else ()
    discovery.write_text(_service_discovery(f"localhost:{port}", proxies), encoding="utf-8")
    return {
        "BUILD2_TOKEN": str(mounts.root / "BUILD2_TOKEN"),
        "RESOURCE_ALIAS_MAP": str(mounts.root / "RESOURCE_ALIAS_MAP"),
        "FOUNDRY_SERVICE_DISCOVERY_V2": str(discovery),
        "DEFAULT_CA_PATH": str(mounts.ca),
        "CONNECTIONS_TO_OTHER_PODS_CA_PATH": str(mounts.ca),
        "COMPUTE_SESSION_ID": f"ses-{uuid.uuid4()}",
        "FOUNDRY_COMPUTE_MODULE_RID": module_rid,
        "PYTHONUNBUFFERED": "1",
        **_no_proxy(),
        **(sources.mount(mounts.root, mounts.ca) if sources else {}),
    }


def renew_pipeline_token(mounts: Mounts, token: str) -> None:
    """Replace the pipeline's token in one step: a reader never sees half of it."""
    draft = mounts.root / "BUILD2_TOKEN.new"
    draft.write_text(token, encoding="utf-8")
    draft.replace(mounts.root / "BUILD2_TOKEN")


def _service_discovery(address: str, proxies: Sequence[str]) -> str:
    services = {
        "api_gateway": "/api",
        "stream_proxy": "/stream-proxy/api",
        "multipass": "/multipass/api",
        "foundry_mio": "/mio/api",
    }
    lines = [f'{name}: ["https://{address}{path}"]\n' for name, path in services.items()]
    return "".join(lines) + f"on_prem_proxy: {json.dumps(list(proxies))}\n"


def _no_proxy() -> dict[str, str]:
    """Keep calls to the local Foundry away from a proxy that this machine uses for the rest."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    hosts = ",".join(filter(None, [known, "localhost", "127.0.0.1"]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}
