"""The release check: `make release-check TAG=v1.2.3` refuses a tag that updates could not follow.

An update compares tags as PEP 440 versions, so a bad or moved tag reaches every module that was ever
rendered. The template, foundry-cm and the changelog carry one version.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.version import InvalidVersion, Version

from foundry_cm import __version__

ROOT = Path(__file__).parent.parent


def problems(tag: str, *, root: Path = ROOT, version: str = __version__) -> Iterator[str]:
    """Each reason why a tag must not be made here and now."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        yield f"{tag} is not of the form v1.2.3 or v1.2.3rc1"
        return
    if Version(tag) != Version(version):
        yield f"{tag} is not the version in foundry_cm/__init__.py, {version}"
    known = _git(root, "tag", "--list").split()
    if tag in known:
        yield f"{tag} exists already; a tag is never moved"
    later = [name for name in known if _version(name) and Version(name) > Version(tag)]
    if later:
        yield f"{later[0]} is newer than {tag}"
    if _git(root, "status", "--porcelain").strip():
        yield "the working tree has changes that are not committed"
    yield from _changelog_problems(root, tag)
    config = yaml.safe_load((root / "copier.yml").read_text("utf-8"))
    for setting in ("_tasks", "_jinja_extensions"):
        if setting in config:
            yield f"copier.yml has {setting}: every user would have to pass --trust, for ever"


def _changelog_problems(root: Path, tag: str) -> Iterator[str]:
    text = (root / "CHANGELOG.md").read_text("utf-8")
    section = re.search(
        rf"^## {re.escape(tag[1:])}( [^\n]*)?$(?P<body>.*?)(?=^## |\Z)", text, re.M | re.S
    )
    if section is None:
        yield f"CHANGELOG.md has no section for {tag[1:]}"
    elif "(unreleased)" in section.group(0).splitlines()[0]:
        yield f"CHANGELOG.md says that {tag[1:]} is unreleased; give its date"
    elif "### After updating" not in section["body"]:
        yield f'CHANGELOG.md has no part "After updating" for {tag[1:]}'


def _version(name: str) -> Version | None:
    try:
        return Version(name)
    except InvalidVersion:
        return None


def _git(root: Path, *args: str) -> str:
    return subprocess.run(
        ["git", *args], cwd=root, text=True, capture_output=True, check=True
    ).stdout


def main() -> None:
    """Print every reason against the tag and end with 1, or say how to make it."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m hooks.release TAG")
    found = list(problems(sys.argv[1]))
    for text in found:
        print(f"error: {text}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"next: git tag -a {sys.argv[1]} -m {sys.argv[1]} && git push origin {sys.argv[1]}")


if __name__ == "__main__":
    main()
