"""`cm lock`: the packages of an image by hash, from indexes on loopback whose newest version moves."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner
from werkzeug import Request, Response

from foundry_cm.cli import app
from foundry_cm.errors import CmError
from foundry_cm.image.lock import lock
from foundry_cm.module.project import Project
from tests.conftest import UNIX
from tests.container.index import Index, serving

LOGIN = "reader:canary-index-token"
OLD, NEW = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


NO_HASH = "cannot be locked: only files on an index have a hash"


@pytest.fixture
def index(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Index]:
    """A private index with `parts` 1.0, its login in a pip.conf outside the module."""
    with serving(Index(LOGIN)) as index:
        index.add("parts", "1.0", "bolts")
        index.add("bolts", "5.0")
        conf = tmp_path_factory.mktemp("settings") / "pip.conf"
        conf.write_text(f"[global]\nindex-url = {index.url_with_login}\n")
        for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(conf))
        yield index


@pytest.fixture
def module(tmp_path: Path, search_module: Path) -> Path:
    """A module with the rendered Dockerfile, and requirements that the index has."""
    for name in ("Dockerfile", "pyproject.toml"):
        shutil.copy(search_module / name, tmp_path)
    (tmp_path / "requirements-template.txt").write_text("parts>=1\n")
    (tmp_path / "requirements.txt").write_text("-r requirements-template.txt\n")
    return tmp_path


def locked(module: Path, name: str = lock.LOCK, **options: bool) -> list[str]:
    """The packages of a lock that is written now."""
    lock.write(Project.read(module), **{"base": False, **options})
    return re.findall(r"^\S+==\S+", (module / name).read_text(), re.MULTILINE)


def problem(module: Path) -> str | None:
    found = lock.problem(Project.read(module))
    return f"{found.where}: {found.what}" if found else None


def installed(module: Path, into: Path, step: int = 0) -> list[str]:
    """What a step of the Dockerfile installs, run as it stands there."""
    dockerfile = (module / "Dockerfile").read_text()
    steps = re.findall(r"^RUN --mount\S+ \\\n((?:.*\\\n)*.*)", dockerfile, re.MULTILINE)
    bin_folder = into.with_name(f"{into.name}-bin")
    bin_folder.mkdir()
    (bin_folder / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    (bin_folder / "pip").chmod(0o755)
    path = f"{bin_folder}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PIP_TARGET": str(into)}
    done = subprocess.run(
        ["sh", "-e", "-c", steps[step]], cwd=module, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return sorted(path.name.removesuffix(".dist-info") for path in into.glob("*.dist-info"))


@UNIX
def test_two_builds_of_one_commit_have_the_same_packages_when_the_index_moves(
    module: Path, index: Index, tmp_path: Path
) -> None:
    assert locked(module) == ["bolts==5.0", "parts==1.0"]
    first = installed(module, tmp_path / "first")
    index.add("parts", "2.0")
    index.add("bolts", "6.0")
    assert problem(module) is None
    assert installed(module, tmp_path / "second") == first == ["bolts-5.0", "parts-1.0"]
    (module / lock.LOCK).unlink()
    assert installed(module, tmp_path / "open") == ["parts-2.0"]


@UNIX
def test_a_file_that_was_changed_on_the_index_is_refused(
    module: Path, index: Index, tmp_path: Path
) -> None:
    locked(module)
    index.add("bolts", "5.0", "a-guest")
    with pytest.raises(AssertionError, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        installed(module, tmp_path / "packages")


def test_what_is_locked_stays_until_it_is_upgraded(module: Path, index: Index) -> None:
    locked(module)
    index.add("parts", "2.0")
    index.add("nuts", "1.0")
    (module / "requirements.txt").write_text("-r requirements-template.txt\nnuts\n")
    assert locked(module) == ["bolts==5.0", "nuts==1.0", "parts==1.0"]
    assert locked(module, upgrade=True) == ["nuts==1.0", "parts==2.0"]


def test_the_login_of_an_index_is_in_no_lock(module: Path, index: Index) -> None:
    locked(module)
    text = (module / lock.LOCK).read_text()
    assert "canary" not in text and "127.0.0.1" not in text


def test_an_index_of_the_requirements_is_told_to_pip_again(module: Path, index: Index) -> None:
    with serving(Index()) as more:
        more.add("washers", "1.0")
        text = f"-r requirements-template.txt\n--extra-index-url {more.url}  # ours\nwashers\n"
        (module / "requirements.txt").write_text(text)
        assert "washers==1.0" in locked(module)
        assert f"\n--extra-index-url {more.url}\n" in (module / lock.LOCK).read_text()


@pytest.mark.parametrize("option", ["--index-url", "--extra-index-url"])
@UNIX
def test_pytorch_comes_from_its_own_index_and_all_else_as_ever(
    option: str, module: Path, index: Index, tmp_path: Path
) -> None:
    index.add("torch", "2.9.0", "cuda")
    index.add("cuda", "13.0")
    with serving(Index()) as torch:
        torch.add("torch", "2.9.0+cpu", "bolts<6")
        torch.add("parts", "0.1")
        file = module / "requirements-template-torch.txt"
        file.write_text(f"{option} {torch.url}\ntorch>=2.6,<3\n")
        assert locked(module) == ["bolts==5.0", "parts==1.0", "torch==2.9.0+cpu"]
        text = (module / "requirements-torch.lock").read_text()
        assert re.findall(r"^\S+==\S+", text, re.MULTILINE) == ["bolts==5.0", "torch==2.9.0+cpu"]
        assert f"\n--extra-index-url {torch.url}\n" in text and "/tmp" not in text
        assert problem(module) is None
        assert installed(module, tmp_path / "all") == ["bolts-5.0", "parts-1.0", "torch-2.9.0+cpu"]
        file.unlink()
        locked(module)
        assert not (module / "requirements-torch.lock").exists()


def test_stale_is_what_was_made_from_something_else(module: Path, index: Index) -> None:
    assert problem(module) == (
        "requirements.lock: There is no requirements.lock, so each build takes the newest versions"
    )
    locked(module)
    requirements, dockerfile = module / "requirements.txt", module / "Dockerfile"
    requirements.write_text("# A word.\n\n-r requirements-template.txt  # and another\n")
    assert problem(module) is None
    requirements.write_text("-r requirements-template.txt\nnuts\n")
    stale = "requirements.lock is stale:"
    assert problem(module) == (
        f"requirements.lock:7: {stale} requirements.txt changed since it was written"
    )
    requirements.write_text("-r requirements-template.txt\n")
    dockerfile.write_text(dockerfile.read_text().replace("python:3.13", "python:3.12"))
    assert problem(module) == f"requirements.lock:3: {stale} python changed since it was written"


@pytest.mark.usefixtures("index")
def test_cm_lock_says_what_it_wrote_and_check_says_why_not(module: Path) -> None:
    runner = CliRunner()
    checked = runner.invoke(app, ["lock", "--check", "-C", str(module)])
    assert isinstance(checked.exception, CmError) and checked.exception.exit_code == 1
    assert checked.exception.fix == "cm lock writes it; commit it."
    written = runner.invoke(app, ["lock", "--no-base", "-C", str(module)])
    assert "Wrote requirements.lock: 2 packages by version and hash" in written.stderr
    assert "Dockerfile:1  python:3.13-slim is not pinned" in written.stderr
    assert runner.invoke(app, ["lock", "--check", "-C", str(module)]).exit_code == 0


@pytest.mark.usefixtures("index")
def test_a_build_is_told_of_a_lock_that_its_dockerfile_would_install(module: Path) -> None:
    project = Project.read(module)
    missing = "There is no requirements.lock, so each build takes the newest versions"
    assert lock.note(project) == missing
    (module / "Dockerfile").write_text("FROM acme/base:1\nRUN pip install -r requirements.txt\n")
    assert lock.note(project) is None
    with pytest.raises(CmError) as failure:
        locked(module)
    assert failure.value.fix == 'Set it in pyproject.toml: [tool.foundry-cm] python = "3.13"'


@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        (
            "--index-url https://me:secret@acme.com/simple",
            "requirements.txt:2",
            "An address contains a credential that everyone with access to this repository can "
            "read",
        ),
        ("-r ../other.txt", "requirements.txt:2", "../other.txt is not a file of this module"),
        ("-c absent.txt", "requirements.txt:2", "absent.txt is not a file of this module"),
        # uv would run its code, to ask what it needs.
        ("./evil", "requirements.txt:2", f"./evil {NO_HASH}"),
        ("-e ./evil", "requirements.txt:2", f"./evil {NO_HASH}"),
        ("evil @ git+file:///x", "requirements.txt:2", f"evil @ git+file:///x {NO_HASH}"),
        (
            "parts>=7",
            None,
            "No versions fit the requirements, for Python 3.13 on linux/amd64",
        ),
    ],
)
def test_what_cannot_be_locked_says_why_and_writes_nothing(
    line: str, where: str | None, what: str, module: Path, index: Index
) -> None:
    (module / "requirements.txt").write_text(f"-r requirements-template.txt\n{line}\n")
    (module / "evil").mkdir()
    (module / "evil/setup.py").write_text("open('was-run', 'w').close()\n")
    with pytest.raises(CmError) as failure:
        locked(module)
    assert failure.value.what == what
    assert not (module / "evil/was-run").exists()
    assert failure.value.where == (where or str(module / "requirements.txt"))
    assert "secret" not in str(vars(failure.value)) and "canary" not in str(vars(failure.value))
    assert not (module / lock.LOCK).exists()


def test_a_requirement_file_that_is_not_utf8_says_so(module: Path) -> None:
    (module / "requirements.txt").write_bytes("parts\n".encode("utf-16"))
    with pytest.raises(CmError) as failure:
        locked(module)
    assert failure.value.what == "requirements.txt is not UTF-8 text"
    assert failure.value.where == str(module / "requirements.txt")


def test_a_variable_in_an_address_is_no_credential(module: Path, index: Index) -> None:
    url = index.url.replace("//", "//${INDEX_USER}:${INDEX_TOKEN}@")
    (module / "requirements.txt").write_text(f"--index-url {url}\n-r requirements-template.txt\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INDEX_USER", "reader")
        patch.setenv("INDEX_TOKEN", "canary-index-token")
        assert locked(module) == ["bolts==5.0", "parts==1.0"]
    assert f"\n--index-url {url}\n" in (module / lock.LOCK).read_text()


class Images:
    """A registry that gives a token to everybody, as Docker Hub does."""

    def __init__(self, server: HTTPServer) -> None:
        self.server, self.digest = server, OLD
        self.host = f"localhost:{server.port}"
        server.expect_request("/token").respond_with_json({"token": "for-everybody"})
        server.expect_request("/v2/mirror/python/manifests/3.13-slim").respond_with_handler(
            self.answer
        )

    def answer(self, request: Request) -> Response:
        if request.headers.get("Authorization") != "Bearer for-everybody":
            realm = f'Bearer realm="https://{self.host}/token",service="test",scope="pull"'
            return Response(status=401, headers={"WWW-Authenticate": realm})
        return Response(headers={"Docker-Content-Digest": self.digest})


@pytest.fixture
def images(
    module: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Images]:
    """The registry of the module's base image."""
    folder = tmp_path_factory.mktemp("registry")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        images = Images(server)
        dockerfile = module / "Dockerfile"
        mirrored = dockerfile.read_text().replace("python:", f"{images.host}/mirror/python:")
        dockerfile.write_text(mirrored)
        yield images


def test_the_dockerfile_gets_the_digest_of_its_base_image(
    module: Path, index: Index, images: Images
) -> None:
    locked(module, base=True)
    dockerfile = module / "Dockerfile"
    first, *rest = dockerfile.read_text().splitlines()
    name = f"FROM --platform=linux/amd64 {images.host}/mirror/python:3.13-slim"
    assert first == f"{name}@{OLD}"
    images.digest = NEW
    locked(module, base=True)
    assert dockerfile.read_text().splitlines() == [first, *rest]
    locked(module, base=True, upgrade=True)
    assert dockerfile.read_text().splitlines() == [f"{name}@{NEW}", *rest]
    assert problem(module) is None
    dockerfile.write_text("\n".join([name, *rest]))
    assert problem(module) == (
        f"Dockerfile:1: requirements.lock is stale: {images.host}/mirror/python:3.13-slim has no "
        "digest, though the lock has one for it"
    )


def test_without_its_registry_an_image_is_locked_only_where_that_is_asked_for(
    module: Path, index: Index, images: Images
) -> None:
    dockerfile = module / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("mirror/python", "absent/python"))
    before = dockerfile.read_text()
    with pytest.raises(CmError) as failure:
        locked(module, base=True)
    assert failure.value.what == (
        f"The registry of {images.host}/absent/python:3.13-slim gives no digest for its tag: "
        "it answers 500 INTERNAL SERVER ERROR"
    )
    assert failure.value.where == f"Dockerfile:1 (asked {images.host})"
    assert (failure.value.fix or "").endswith("lock without the base image: cm lock --no-base")
    assert not (module / lock.LOCK).exists()
    assert locked(module) == ["bolts==5.0", "parts==1.0"]
    assert dockerfile.read_text() == before
    assert problem(module) is None
