"""Behind a mirror and a company's own CA: each line of docs/mirrors.md, against a stand-in on loopback."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response

from foundry_cm.errors import CmError
from tests import proxy as proxies
from tests.conftest import Render
from tests.models.conftest import TORCH, Module
from tests.models.hub import Hub
from tests.models.weights import pull_into


class Mirror:
    """A company's mirror of PyPI, and beside it that of PyTorch's index; both ask for a login."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "company-ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self.server = HTTPServer("localhost", ssl_context=context, threaded=True)
        self.files = {
            "/pypi/simple/torch": wheel(folder, "2.13.0"),
            "/pytorch/cpu/torch": wheel(folder, "2.13.0+cpu"),
        }
        self.asked: list[str] = []
        self.server.expect_request("").respond_with_handler(self._answer)
        for path in self.files:
            self.server.expect_request(f"{path}/").respond_with_handler(self._answer)
            name = self.files[path].name
            self.server.expect_request(f"{path}/{name}").respond_with_handler(self._answer)

    @property
    def host(self) -> str:
        return f"localhost:{self.server.port}"

    def _answer(self, request: Request) -> Response:
        login = "Basic " + base64.b64encode(b"me:secret").decode()
        if request.headers.get("Authorization") != login:
            return Response(status=401, headers={"WWW-Authenticate": "Basic"})
        self.asked.append(request.path)
        folder, _, name = request.path.rpartition("/")
        file = self.files[folder]
        if name:
            return Response(file.read_bytes())
        link = file.name.replace("+", "%2B")
        return Response(f'<a href="{link}">{file.name}</a>', content_type="text/html")


def wheel(folder: Path, version: str) -> Path:
    """A package called torch with nothing in it."""
    path = folder / f"torch-{version}-py3-none-any.whl"
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path)
    mirror.server.start()
    yield mirror
    mirror.server.stop()


def install(mirror: Mirror, module: Path, target: Path) -> list[str]:
    """Install PyTorch as the README says, with the mirror in pip.conf; gives what is there then."""
    conf = target.with_suffix(".conf")
    index = f"https://me:secret@{mirror.host}/pypi/simple"
    conf.write_text(f"[global]\nindex-url = {index}\ncert = {mirror.ca}\nretries = 0\n")
    ours = ("PIP_", "SSL_", "CURL_", "REQUESTS_", "HTTP", "http")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", "pip", "install", "-r", "requirements-template-torch.txt"]
    done = subprocess.run(
        [*command, "--target", str(target), "--disable-pip-version-check"],
        cwd=module,
        env=env | {"PIP_CONFIG_FILE": str(conf)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "download.pytorch.org" not in done.stdout + done.stderr
    return [path.name for path in target.glob("torch-*")]


def test_pytorch_comes_through_pip_conf_from_a_mirror(
    mirror: Mirror, render: Render, tmp_path: Path
) -> None:
    module = render(**TORCH, torch_index=f"https://{mirror.host}/pytorch/{{build}}")
    assert install(mirror, module, tmp_path / "a") == ["torch-2.13.0+cpu.dist-info"]
    everything = render(**TORCH, torch_index="")
    assert install(mirror, everything, tmp_path / "b") == ["torch-2.13.0.dist-info"]


@pytest.mark.parametrize(
    "index", ["http://mirror/whl", "https://me:secret@mirror/whl", "https://mirror/whl --pre", "x"]
)
def test_an_index_of_pytorch_is_an_https_address_without_credentials(
    render: Render, index: str
) -> None:
    with pytest.raises(ValueError, match="https address without credentials, which belong in pip"):
        render(**TORCH, torch_index=index)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_any_of_the_usual_variables_names_the_ca_of_a_hub(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(hub.ca))
    pull_into(module)
    assert hub.requests


def test_a_ca_file_that_is_not_there_is_said(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == "there is no file /no/such.pem with the CAs to trust"
    assert refused.value.fix == "Correct REQUESTS_CA_BUNDLE or SSL_CERT_FILE."


def test_weights_come_through_a_proxy_and_around_it(
    hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with proxies.running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        pull_into(module)
        assert set(proxy.targets) <= {
            f"{host}:{hub.server.port}" for host in ("localhost", "127.0.0.1")
        }
        count = len(proxy.targets)
        assert count
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        pull_into(module, update=True)
        assert len(proxy.targets) == count
