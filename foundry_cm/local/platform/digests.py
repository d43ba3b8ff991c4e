"""Digests of files that people may change, read again only when size or time have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path


class Digests:
    """The SHA-256 of files, remembered as long as a file's size and time stay as they were."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}

    def of(self, path: Path) -> str:
        """The digest of a file as it is now, in hexadecimal."""
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            with path.open("rb") as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
            known = (stamp, digest.hexdigest())
            self._known[path] = known
        return known[1]
