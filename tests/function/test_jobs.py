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


def test_calls_go_out_in_their_order_and_to_each_replica_in_its_turn() -> None:
    async def run() -> None:
        queue = JobQueue(64)
        jobs = [queue.submit("echo", b"{}") for _ in range(40)]
        handed = [await queue.next_job(replica, 1) for _ in range(10) for replica in range(4)]
        assert handed == jobs
        polls = [asyncio.create_task(queue.next_job(turn % 4, 5)) for turn in range(40)]
        await asyncio.sleep(0)
        later = [queue.submit("echo", b"{}") for _ in range(40)]
        assert await asyncio.gather(*polls) == later
        assert [len(queue.held(replica)) for replica in range(4)] == [20] * 4

    asyncio.run(run())


def test_a_replica_that_is_full_leaves_the_next_call_to_another() -> None:
    async def run() -> None:
        queue = JobQueue(2)
        polls = [asyncio.create_task(queue.next_job(0, 5)) for _ in range(3)]
        polls.append(asyncio.create_task(queue.next_job(1, 5)))
        await asyncio.sleep(0)
        for _ in range(3):
            queue.submit("echo", b"{}")
        await asyncio.sleep(0.01)
        assert [poll.done() for poll in polls] == [True, True, False, True]
        polls[2].cancel()

    asyncio.run(run())
