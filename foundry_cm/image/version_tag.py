"""An image tag that stands for one state of the module's source, taken from git."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from foundry_cm.errors import CmError
from foundry_cm.image.image import check_tag
from foundry_cm.module.git import git


def tag_from_git(folder: Path, *, allow_dirty: bool = False) -> str:
    """The tag for the commit that is checked out: its version tag, or `git describe` of it.

    `v1.4.0` gives `v1.4.0`; three commits later `v1.4.0-3-g1a2b3c4d5e6f`; without a version tag
    the commit's first 12 digits. Changes that are not committed are refused, or with
    `allow_dirty` marked with the second they were built, so that no tag stands for two images.
    Only changes inside `folder` count. Raises `CmError` where git gives no commit.
    """
    tag = _described(folder)
    if tag is None:
        raise CmError(
            "there is no git commit to make the image's tag from",
            where=str(folder),
            fix="git init && git add --all && git commit -m 'First version', or pass --tag.",
            code="NoCommit",
        )
    changed = _changed(folder)
    if not changed:
        return check_tag(tag)
    if not allow_dirty:
        files = "1 changed file is" if len(changed) == 1 else f"{len(changed)} changed files are"
        raise CmError(
            f"{files} not committed: {changed[0]}" + (" and others" if len(changed) > 1 else ""),
            where=str(folder),
            fix="Commit, so that the tag says what runs; or --allow-dirty marks it.",
            code="Uncommitted",
        )
    now = datetime.now(UTC)
    return check_tag(f"{tag}-dirty-{now:%Y%m%d%H%M%S}")


def local_tag(folder: Path) -> str:
    """The tag of an image that stays on this machine: `local` before the first commit."""
    tag = _described(folder)
    if tag is None:
        return "local"
    return check_tag(f"{tag}-dirty" if _changed(folder) else tag)


def _described(folder: Path) -> str | None:
    described = git(folder, "describe", "--tags", "--always", "--abbrev=12", "HEAD")
    return None if described is None else re.sub(r"[^A-Za-z0-9_.-]", "-", described)


def _changed(folder: Path) -> list[str]:
    lines = (git(folder, "status", "--porcelain", "--", ".") or "").splitlines()
    return [line[3:] for line in lines]
