"""Which versions the image gets: uv resolves for its Python and platform, with pip's own settings."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from foundry_cm.errors import CmError
from foundry_cm.image.lock.requirements import MAIN, TORCH, Requirements
from foundry_cm.module.logins import hidden

# glibc 2.28 or newer: what wheels for linux/amd64 are built for, and less than any base has.
_PLATFORM = "x86_64-manylinux_2_28"
# Where pip's settings go in uv's environment. uv reads no pip.conf.
_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
_LISTED_BY_COMMA = ("UV_FIND_LINKS",)


def resolve(requirements: Requirements, python: str, known: Mapping[str, str]) -> dict[str, str]:
    """The packages of each file that the image installs, with hashes, as pip takes them.

    `known` are the packages that are locked now: what still fits keeps its version. Raises `CmError`
    with uv's own words where nothing fits, and where a package has no hash to lock.
    """
    _check_origins(requirements)
    with tempfile.TemporaryDirectory(prefix="cm-lock-") as name:
        # uv names these files in its comments, and the lock shall not name this folder.
        folder = Path(name)
        whole, first = folder / "requirements.lock", folder / "torch.lock"
        whole.write_text(known.get(MAIN, ""), "utf-8")
        given = [_given(requirements, root, folder) for root in requirements.roots]
        _compile(requirements.folder, python, whole, given)
        found = {MAIN: whole.read_text("utf-8")}
        if TORCH in requirements.roots:
            _compile(requirements.folder, python, first, [given[0], "--constraints", str(whole)])
            found[TORCH] = first.read_text("utf-8")
        plain = {root: text.replace(f"{folder}{os.sep}", "") for root, text in found.items()}
    for text in plain.values():
        _check_hashes(text)
    return plain


def _given(requirements: Requirements, root: str, folder: Path) -> str:
    """A file as uv gets it: PyTorch's index stands beside the others, as the lock will have it."""
    if root != TORCH:
        return root
    own = [line.text for line in requirements.lines if line.file == TORCH]
    packages = [text for text in own if not text.startswith("-")]
    file = folder / TORCH
    file.write_text("\n".join([*requirements.sources(of_torch=True), *packages, ""]), "utf-8")
    return str(file)


def _compile(folder: Path, python: str, output: Path, given: list[str]) -> None:
    argv = (
        *(_uv(), "pip", "compile", "--quiet", "--no-header", "--generate-hashes"),
        *("--python-version", python, "--python-platform", _PLATFORM, "--python", sys.executable),
        # As pip does: the best version of all indexes.
        *("--index-strategy", "unsafe-best-match", "--output-file", str(output), *given),
    )
    environment = {**os.environ, **_pip_settings(), "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CmError(
            f"No versions fit the requirements, for Python {python} on linux/amd64",
            where=str(folder / MAIN),
            fix="uv's message is below. It uses the indexes of pip.conf, of uv's settings and of "
            "these files.",
            code="Unresolved",
            details=hidden(done.stderr.strip()) or None,
        )


def _uv() -> str:
    """uv, which comes with this tool."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise CmError("cm lock needs uv", fix="pip install uv", code="MissingPackage")
    return found


def _pip_settings() -> dict[str, str]:
    """What pip is told about indexes, proxy and certificates on this machine, in uv's words.

    What uv is told itself has priority. A machine without pip has no settings of pip's.
    """
    argv = (sys.executable, "-m", "pip", "config", "list")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    # The environment stands last in what pip lists, and has priority.
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        key, _, value = line.partition("=")
        section, _, name = key.strip().rpartition(".")
        if section in ("global", "install", ":env:") and name in _SETTINGS:
            words = str(ast.literal_eval(value)).split()
            variable = _SETTINGS[name]
            found[variable] = ("," if variable in _LISTED_BY_COMMA else " ").join(words)
    if os.environ.keys() & {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"}:
        found = {key: value for key, value in found.items() if not key.endswith("_INDEX")}
    return {key: value for key, value in found.items() if key not in os.environ}


def _check_origins(requirements: Requirements) -> None:
    """Raise the `CmError` of a folder or a repository among the packages: uv would run its code first."""
    for line in requirements.lines:
        name, value = line.option
        if name == "--editable" or (not name and _is_folder_or_repository(line.text)):
            raise _no_hash(value or line.text, line.where)


def _is_folder_or_repository(text: str) -> bool:
    try:
        url = Requirement(text.partition(" --")[0]).url or ""
    except InvalidRequirement:
        # Without a name before it, it is an address, or a path.
        url = text if "://" in text else "file:"
    scheme = url.partition(":")[0].lower()
    return bool(url) and scheme not in ("https", "http")


def _check_hashes(text: str) -> None:
    """Raise the `CmError` of a package that no hash can be locked for."""
    package, has_hash = "", True
    for line in [*text.splitlines(), "end"]:
        if line and not line.startswith((" ", "#", "-")):
            if not has_hash:
                break
            package, has_hash = line.removesuffix(" \\"), False
        has_hash = has_hash or "--hash=" in line
    else:
        return
    raise _no_hash(package, MAIN)


def _no_hash(package: str, where: str) -> CmError:
    return CmError(
        f"{hidden(package)} cannot be locked: only files on an index have a hash",
        where=where,
        fix="Take it from an index, or give the address of a wheel. With hashes, pip refuses "
        "everything else.",
        code="NoHash",
    )
