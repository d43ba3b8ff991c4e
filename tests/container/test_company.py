"""A module in a company: base image, packages and certificates come from its own servers alone."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from foundry_cm.errors import CmError
from foundry_cm.image.build import Report, build
from foundry_cm.image.engines import Buildah, Secret
from foundry_cm.image.lock import lock
from foundry_cm.module.project import Project
from tests import proxy as proxies
from tests.conftest import Render
from tests.container.index import Index, serving
from tests.containers import NAMES, REPOSITORY, TOKEN, Registry, buildah

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.usefixtures("containers")]
LOGIN, PROXY_LOGIN = "reader:canary-index-token", "clerk:canary-proxy"
LOOK = """
import glob, os, ssl
ssl.create_default_context().load_verify_locations(os.environ["REQUESTS_CA_BUNDLE"])
names = [name[0][1] for ca in ssl.create_default_context().get_ca_certs() for name in ca["subject"]]
print("ours" if "Company" in names else names, glob.glob("/app/requirements-dev*"))
"""


@dataclass(frozen=True)
class Company:
    """Its settings in a folder, and the way out of its network."""

    folder: Path
    proxy: proxies.Proxy


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Iterator[Company]:
    """The login of the registry, a pip.conf for the index and the proxy, and the company's CA."""
    folder = tmp_path_factory.mktemp("company")
    ca, context = trustme.CA(organization_name="Company"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(folder / "company.crt")
    login = ("login", "--authfile", str(folder / "auth.json"), "--username", REPOSITORY)
    buildah(*login, "--password", TOKEN, registry.host)
    mirrored = f"docker://{registry.host}/mirror/python:3.13-slim"
    buildah("push", "--quiet", "--authfile", str(folder / "auth.json"), NAMES[0], mirrored)
    # The tests' own settings mount the certificates of this machine, where the image has its own.
    (folder / "containers.conf").write_text('[containers]\nnetns = "host"\n')
    both = (folder / "company.crt").read_text() + (registry.folder / "ca.pem").read_text()
    (folder / "both.pem").write_text(both)
    with (
        serving(Index(LOGIN), context) as index,
        proxies.running(PROXY_LOGIN) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        index.add("parts", "1.0")
        settings = f"[global]\nindex-url = {index.url_with_login}\nproxy = {proxy.url}\n"
        (folder / "pip.conf").write_text(settings)
        for name in list(os.environ):
            if name.startswith(("PIP_", "UV_")) or name.upper().endswith("_PROXY"):
                patch.delenv(name)
        patch.setenv("REGISTRY_AUTH_FILE", str(folder / "auth.json"))
        patch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        patch.setenv("SSL_CERT_FILE", str(folder / "both.pem"))
        patch.setenv("PIP_CONFIG_FILE", str(folder / "pip.conf"))
        yield Company(folder, proxy)


@pytest.fixture(scope="module")
def module(render: Render, registry: Registry, company: Company) -> Path:
    """A module that asks the company alone, locked."""
    folder = render(
        module_name="parts-search",
        base_image=f"{registry.host}/mirror/python",
        company_ca=True,
    )
    (folder / "requirements.txt").write_text("parts>=1\n")
    (folder / "certs").mkdir()
    (folder / "certs/company.crt").write_text((company.folder / "company.crt").read_text())
    lock.write(Project.read(folder))
    assert company.proxy.targets, "uv asks the index through the proxy"
    return folder


@pytest.fixture(scope="module")
def built(module: Path, company: Company) -> Report:
    company.proxy.targets.clear()
    secret = Secret.parse(f"id=pip-conf,src={company.folder / 'pip.conf'}")
    return build(module, f"localhost/cm-test-company-{os.getpid()}:1", Buildah(), secrets=[secret])


def test_an_image_is_locked_and_built_from_what_the_company_serves(
    module: Path, registry: Registry, company: Company, built: Report
) -> None:
    # pip in the build asks through the proxy, as uv did.
    assert company.proxy.targets
    first = (module / "Dockerfile").read_text().splitlines()[0]
    assert first.startswith(
        f"FROM --platform=linux/amd64 {registry.host}/mirror/python:3.13-slim@sha256:"
    )
    assert "parts==1.0" in (module / lock.LOCK).read_text()
    assert [finding.what for finding in built.findings] == []


def test_the_login_of_the_index_is_in_no_layer(module: Path, built: Report, tmp_path: Path) -> None:
    buildah("push", "--quiet", "--disable-compression", built.image.ref, f"dir:{tmp_path}")
    texts = [path.read_bytes() for path in (*tmp_path.iterdir(), module / lock.LOCK)]
    assert not any(b"canary-index" in text or b"canary-proxy" in text for text in texts)


def test_a_proxy_that_refuses_is_said_without_its_login(
    module: Path, company: Company, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = (company.folder / "pip.conf").read_text().replace("canary-proxy", "canary-wrong")
    (tmp_path / "pip.conf").write_text(wrong)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(CmError) as failure:
        lock.write(Project.read(module), upgrade=True)
    assert "canary" not in str(vars(failure.value))


def test_the_certificates_of_the_company_are_trusted_at_run_time(built: Report) -> None:
    name = f"cm-test-company-{os.getpid()}"
    container = Buildah().container(built.image, name, command=("python", "-c", LOOK))
    for command in container.before:
        command.run()
    try:
        done = subprocess.run(container.run.argv, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "ours []", done.stderr
    finally:
        for command in container.after:
            command.run()
