"""What becomes of a job whose replica dies, and of results that are not a replica's own."""

from __future__ import annotations

import asyncio

import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.function.jobs import JobQueue


def test_result_counts_from_the_replica_that_holds_the_job_alone() -> None:
    async def run() -> None:
        queue = JobQueue(1)
        job = queue.submit("echo", b"{}")
        await queue.next_job(0, 1)
        assert queue.knows(job.id, 0)
        assert not queue.knows(job.id, 1)

    asyncio.run(run())


def test_calls_that_fail_for_one_reason_share_no_traceback() -> None:
    async def run() -> None:
        died = CmError("The module was killed", where="app.py:1", fix="Mend it.", details="frames")
        for _ in range(3):
            queue = JobQueue(1)
            job = queue.submit("echo", b"{}")
            queue.drop_queued(died)
            with pytest.raises(CmError) as failed:
                await job.answer
            assert failed.value.as_json() == died.as_json()
        assert died.__traceback__ is None

    asyncio.run(run())
