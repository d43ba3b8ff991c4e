"""The runtime of a module that answers no calls: a client of it may ask for work all the same."""

from __future__ import annotations

import hmac
from typing import Any

from foundry_cm.local.function.jobs import JobQueue
from foundry_cm.local.mounts import ReplicaIdentity


class NoCalls:
    """Never has work, and takes whatever schemas are posted (see `function.server.Runtime`)."""

    def __init__(self, replica: ReplicaIdentity) -> None:
        self.jobs = JobQueue(1)
        self.max_bytes = 0
        self._replica = replica

    def replica_of(self, token: str) -> int | None:
        """The one replica, where the token is its own."""
        known = hmac.compare_digest(token.encode(), self._replica.token.encode())
        return self._replica.index if known else None

    def polled(self, replica: int) -> bool:
        """It asks for work, and waits as long as any client does."""
        return True

    def declared(self, replica: int, schemas: list[Any]) -> None:
        """It posts schemas, which nobody calls."""

    def restarted(self, replica: int) -> list[str]:
        """It restarts; no job is lost."""
        return []
