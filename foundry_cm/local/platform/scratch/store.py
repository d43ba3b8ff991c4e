"""What the replicas of one module share for a while: texts by key, and locks by name."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

# How long an entry may stay, by the names that the SDK has for it.
LIFETIMES = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTES": 300,
    "FIFTEEN_MINUTES": 900,
    "ONE_HOUR": 3600,
    "SIX_HOURS": 21_600,
    "TWELVE_HOURS": 43_200,
    "ONE_DAY": 86_400,
}
DEFAULT_LIFETIME = "ONE_HOUR"
LOCK_SECONDS = 20.0


class Scratch:
    """The cache and the locks, in memory: they end with the local Foundry, and outlive a replica."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._entries: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, tuple[str, float]] = {}

    def get(self, key: str) -> str | None:
        """The text under a key, unless its time is over."""
        text, end = self._entries.get(key, (None, 0.0))
        return text if end > self.clock() else None

    def put(self, key: str, text: str, lifetime: str) -> None:
        """Keep a text for a while; the one before it goes."""
        now = self.clock()
        self._entries = {key: each for key, each in self._entries.items() if each[1] > now}
        self._entries[key] = (text, now + LIFETIMES[lifetime])

    def delete(self, key: str) -> None:
        """Forget a key, where it is known."""
        self._entries.pop(key, None)

    def try_lock(self, name: str) -> str | None:
        """The id of a lock that is now held, or None where another one holds it."""
        if self._locks.get(name, ("", 0.0))[1] > self.clock():
            return None
        lock = str(uuid.uuid4())
        self._locks[name] = (lock, self.clock() + LOCK_SECONDS)
        return lock

    def unlock(self, name: str, lock: str) -> None:
        """Give a lock back; one that was lost belongs to somebody else."""
        if self._holds(name, lock):
            del self._locks[name]

    def refresh(self, name: str, lock: str) -> bool:
        """Hold a lock for longer, unless it was lost."""
        if not self._holds(name, lock):
            return False
        self._locks[name] = (lock, self.clock() + LOCK_SECONDS)
        return True

    def _holds(self, name: str, lock: str) -> bool:
        held, end = self._locks.get(name, ("", 0.0))
        return held == lock and end > self.clock()
