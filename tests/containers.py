"""Real images in tests without a Docker engine: buildah, and a Python base made by debootstrap.

The fixtures `containers` and `registry` come by conftest.py; mark such a test `container`.
The images lie in a store of their own, in the user's cache folder, so that a second run is quick
and no image of the user is touched. The machine's certificates are mounted into each build: pip
inside it then reaches the package index as pip outside does.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests import debian
from tests.debian import CACHE

STORE = CACHE / "store"
ROOTFS = CACHE / "trixie-python-1.tar"
NAMES = ("docker.io/library/python:3.13-slim", "docker.io/library/python:3.13")
STORE_LIMIT = 12_000_000_000
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES = ["ca-certificates", "python3", "python3-pip", "python3-venv"]

TOKEN = "canary-registry-token"
REPOSITORY = "ri.artifacts.main.repository.00000000-0000-0000-0000-000000000000"
# TOKEN by bcrypt, the only hash that docker-registry reads.
_HASH = "$2b$05$9Dge8LCxIaxiCeBx4Z/Pb.pTH4Rt70FrbY9hIVQ7bDk76/34FhXai"


@dataclass(frozen=True)
class Registry:
    """A registry on loopback with TLS and a login, as Foundry's is."""

    host: str
    folder: Path

    def stored(self) -> str:
        """The path of every file that it keeps; tags are among them."""
        kept = [path for path in self.folder.rglob("*") if path.is_file()]
        return "\n".join(str(path.relative_to(self.folder)) for path in kept)

    def log(self) -> str:
        """What it wrote while it ran."""
        return (self.folder / "log").read_text()


@pytest.fixture(scope="session")
def containers() -> Iterator[None]:
    """buildah in the environment, with `python:3.13-slim` and `python:3.13` in its store."""
    reason = debian.why_no_root("buildah", "docker-registry")
    if reason or sys.platform != "linux":
        pytest.skip(f"no image can be built: {reason}")
    import fcntl

    CACHE.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, (CACHE / "lock").open("w") as lock:
        for name, value in _engine_environment().items():
            patch.setenv(name, value)
        # The first of several test processes makes the base; the others wait for it.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _trim_store()
            _make_base()
        except BlockingIOError:
            pass
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Debian's docker-registry on a free port; its certificate is trusted by `SSL_CERT_FILE`."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    server = ca.issue_cert("localhost")
    server.private_key_pem.write_to_path(folder / "key.pem")
    for blob in server.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    (folder / "htpasswd").write_text(f"{REPOSITORY}:{_HASH}\n")
    (folder / "config.yml").write_text(_registry_config(folder, port))
    command = ["docker-registry", "serve", str(folder / "config.yml")]
    with (folder / "log").open("w") as log, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        patch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
        try:
            _wait_for(port)
            yield Registry(f"localhost:{port}", folder)
        finally:
            process.terminate()
            process.wait(10)


def buildah(*argv: str) -> str:
    """Run buildah and return what it prints."""
    done = subprocess.run(["buildah", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _engine_environment() -> dict[str, str]:
    storage, settings = CACHE / "storage.conf", CACHE / "containers.conf"
    # What buildah notes there is about mounts, which a reboot ends.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    storage.write_text(
        f'[storage]\ndriver = "{_driver()}"\ngraphroot = "{STORE}"\n'
        f'runroot = "/run/foundry-cm-tests-{boot}"\n'
    )
    volumes = f'volumes = ["{CERTIFICATES}:{CERTIFICATES}:ro"]\n' if CERTIFICATES.exists() else ""
    settings.write_text(f'[containers]\nnetns = "host"\n{volumes}')
    return {
        "CONTAINERS_STORAGE_CONF": str(storage),
        "CONTAINERS_CONF": str(settings),
        "BUILDAH_ISOLATION": "chroot",
    }


def _driver() -> str:
    """overlay where the kernel mounts it here, since vfs copies the whole image for each layer."""
    folder = CACHE / "overlay-probe"
    parts = [folder / name for name in ("lower", "upper", "work", "merged")]
    for part in parts:
        part.mkdir(parents=True, exist_ok=True)
    lower, upper, work, merged = map(str, parts)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, merged]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        return "vfs"
    subprocess.run(["umount", merged], check=True)
    return "overlay"


def _trim_store() -> None:
    """Start afresh when earlier runs have left too much: layers are kept to make builds quick."""
    if not STORE.exists():
        return
    used = subprocess.run(["du", "-sxB1", str(STORE)], capture_output=True, text=True, check=False)
    if int(used.stdout.split()[0]) > STORE_LIMIT:
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")


def _make_base() -> None:
    known = buildah("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}").split()
    if all(name in known for name in NAMES):
        return
    if not ROOTFS.exists():
        _debootstrap()
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(ROOTFS), "/")
    path = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    buildah("config", "--cmd", "python3", "--env", f"PATH={path}", container)
    buildah("config", "--created-by", "debootstrap trixie", container)
    buildah("commit", "--quiet", "--rm", container, NAMES[0])
    buildah("tag", *NAMES)


def _debootstrap() -> None:
    """Debian's Python laid out like the official image: `python`, and pip without its guard."""
    root = CACHE / "rootfs"
    debian.bootstrap(root, "trixie", PACKAGES)
    (root / "usr/bin/python").symlink_to("python3")
    for path in [
        *root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"),
        *root.glob("var/cache/apt/archives/*.deb"),
        *root.glob("var/lib/apt/lists/*_*"),
    ]:
        path.unlink()
    part = ROOTFS.with_suffix(".part")
    subprocess.run(["tar", "-C", str(root), "--exclude=./dev/*", "-cf", str(part), "."], check=True)
    part.rename(ROOTFS)
    shutil.rmtree(root)


def _registry_config(folder: Path, port: int) -> str:
    return f"""\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: "{folder}/data"}}}}
http:
  addr: 127.0.0.1:{port}
  tls: {{certificate: "{folder}/cert.pem", key: "{folder}/key.pem"}}
auth: {{htpasswd: {{realm: test, path: "{folder}/htpasswd"}}}}
"""


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("docker-registry does not listen")
