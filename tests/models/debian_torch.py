"""A Python with PyTorch and torchvision for the CPU, from Debian, and ultralytics beside them.

PyPI has torchvision only as a CUDA build of several GB, so the detector's tests run in a Debian root
of their own (1.9 GB, made once in the user's cache), with this machine's files mounted into it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from tests import debian
from tests.conftest import REPOSITORY
from tests.debian import CACHE, run
from tests.models import shapes

SUITE = "trixie"
PACKAGES = [
    "ca-certificates",
    "python3",
    "python3-pip",
    "python3-torch",
    "python3-torchvision",
    "python3-venv",
]
REQUIREMENTS = [
    "ultralytics-opencv-headless==8.4.190",
    "foundry-compute-modules[sources]>=0.34,<0.35",
    "foundry-platform-sdk>=1.111,<2",
    "filelock>=3.16,<5",
    "mypy>=1.18,<3",
    "pyarrow>=19,<27",
    "requests>=2.32,<3",
    "stamina>=25.2,<27",
    "types-pyyaml",
    "types-requests",
]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def skip_unless_possible() -> None:
    """Skip the test where no Debian root can be made."""
    reason = debian.why_no_root("unshare", "chroot")
    if reason:
        pytest.skip(f"the detector's Python cannot be made: {reason}")


def python() -> Path:
    """The interpreter, made where it is not there yet; skips the test where that is impossible."""
    skip_unless_possible()
    recipe = hashlib.sha256(f"{SUITE} {PACKAGES} {REQUIREMENTS}".encode()).hexdigest()[:12]
    root = CACHE / f"debian-torch-{recipe}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "debian-torch.lock"):
        if not root.is_dir():
            _make(root)
    return _wrapper(root)


def _make(root: Path) -> None:
    new = root.with_name(root.name + ".new")
    debian.bootstrap(new, SUITE, PACKAGES)
    # What this machine trusts and how it resolves names holds inside as well.
    for file in (CERTIFICATES, Path("/etc/resolv.conf")):
        if file.exists():
            shutil.copy(file, new / file.relative_to("/"))
    wrapped = str(_wrapper(new))
    run(wrapped, "-m", "pip", "install", "-q", "--no-cache-dir", *REQUIREMENTS)
    new.rename(root)
    _wrapper(root)


def _wrapper(root: Path) -> Path:
    """A command that runs the root's Python where it is called, with the same files in sight."""
    venv = root / "opt" / "venv"
    if not venv.exists():
        run("chroot", str(root), "python3", "-m", "venv", "--system-site-packages", "/opt/venv")
    seen = ["/proc", "/dev", tempfile.gettempdir(), str(REPOSITORY), str(CACHE)]
    mounts = "".join(
        f'mkdir -p "{root}{path}" && mount --rbind "{path}" "{root}{path}" && ' for path in seen
    )
    command = root / "python"
    new = root / f"python.{os.getpid()}"
    new.write_text(
        "#!/bin/sh\n"
        f"exec unshare --mount sh -c '{mounts}"
        f'exec chroot "{root}" env -C "$PWD" /opt/venv/bin/python "$@"\' sh "$@"\n'
    )
    new.chmod(0o755)
    new.replace(command)
    return command


def copy_system(target: Path) -> None:
    """Copy Debian with its PyTorch to `target`, laid out like the official Python image."""
    root = python().parent
    left_out = ("./opt/venv", "./dev/*", "./python*", "./var/cache/apt/archives/*.deb")
    pack = ["tar", "--one-file-system", *(f"--exclude={path}" for path in left_out)]
    with subprocess.Popen([*pack, "-C", str(root), "-cf", "-", "."], stdout=subprocess.PIPE) as out:
        subprocess.run(["tar", "-C", str(target), "-xf", "-"], stdin=out.stdout, check=True)
    assert out.returncode == 0
    # Debian built PyTorch against another sympy than the one whose exact version its metadata asks for.
    for path in target.glob("usr/lib/python3/dist-packages/torch-*.egg-info/*"):
        if path.name in ("PKG-INFO", "requires.txt"):
            path.write_text(path.read_text().replace("sympy==", "sympy>="))
    # pip may put a newer version beside a package of Debian: without a record it refuses to.
    for folder in target.glob("usr/lib/python3/dist-packages/*.dist-info"):
        if not (folder / "RECORD").exists():
            names = (file.name for file in folder.iterdir())
            (folder / "RECORD").write_text("".join(f"{folder.name}/{name},,\n" for name in names))
    # A virtual environment sees Debian's packages as well, behind its own; pip has to be its own.
    (python_folder,) = (path.parent for path in target.glob("usr/lib/python3.*/os.py"))
    (python_folder / "sitecustomize.py").unlink(missing_ok=True)
    (python_folder / "sitecustomize.py").write_text(
        "import sys\n\nsys.path.append('/usr/lib/python3/dist-packages')\n"
    )
    hidden = target / "usr/local/lib" / python_folder.name / "dist-packages"
    hidden.mkdir(parents=True, exist_ok=True)
    for path in target.glob("usr/lib/python3/dist-packages/pip*"):
        path.rename(hidden / path.name)
    (target / "usr/bin/python").symlink_to("python3")
    for path in target.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        path.unlink()


def trained_detector() -> Path:
    """A YOLO that finds squares and circles, trained once and kept in the user's cache."""
    interpreter = python()
    recipe = hashlib.sha256(Path(shapes.__file__).read_bytes()).hexdigest()[:12]
    folder = CACHE / f"shapes-{recipe}"
    with FileLock(CACHE / "shapes.lock"):
        if not (folder / "shapes.pt").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            os.environ.setdefault("YOLO_CONFIG_DIR", str(CACHE))
            run(str(interpreter), shapes.__file__, "train", str(folder))
    return folder / "shapes.pt"


def runs(module: Path) -> None:
    """Let `cm` start a rendered module with the Python that has torchvision."""
    settings = module / "pyproject.toml"
    table = f'[tool.foundry-cm]\ncommand = ["{python()}", "src/app.py"]'
    settings.write_text(settings.read_text().replace("[tool.foundry-cm]", table))
