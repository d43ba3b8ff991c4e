"""The worker processes of the SDK's default pool, which forgets the job of one that dies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from foundry_cm.local.function.hints import worker_died
from foundry_cm.local.function.jobs import JobQueue
from foundry_cm.local.replica import Replica


async def watch_workers(replicas: Sequence[Replica], jobs: JobQueue) -> None:
    """Answer the jobs of a replica whose pool of worker processes died under it.

    The SDK's default pool starts new workers and forgets the job (measured with SDK 0.34);
    Foundry would wait for its answer for up to 22 hours (README of the SDK).
    """
    while True:
        await asyncio.sleep(1)
        for replica in replicas:
            if not replica.responsive:
                continue
            workers = replica.live_workers()
            if not jobs.held(replica.index):
                replica.workers = workers
            elif replica.workers and not replica.workers & workers:
                replica.workers = workers
                jobs.drop(replica.index, worker_died())
