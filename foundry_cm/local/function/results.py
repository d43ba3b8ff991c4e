"""The answer to a call, with where its time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foundry_cm.local.function.jobs import Job
from foundry_cm.local.function.payloads import Answer


@dataclass(frozen=True)
class CallResult:
    """The answer to a call; times in seconds, as seen by the local Foundry.

    `seconds` are those from the moment that a replica took the call; `transfer_seconds` are the part
    of them in which the event and the result were on their way.
    """

    answer: Answer
    job_id: str
    replica: int
    seconds: float
    queued_seconds: float
    transfer_seconds: float
    result_bytes: int

    @classmethod
    def of(cls, job: Job, answer: Answer, ended: float, size: int) -> CallResult:
        """The result of a job that was answered at a moment of `time.perf_counter`."""
        started = job.started_at or ended
        sending = max(0.0, (job.delivered_at or started) - started)
        receiving = max(0.0, ended - (job.posting_at or ended))
        return cls(
            answer=answer,
            job_id=job.id,
            replica=job.replica or 0,
            seconds=ended - started,
            queued_seconds=started - job.queued_at,
            transfer_seconds=min(ended - started, sending + receiving),
            result_bytes=size,
        )

    @property
    def value(self) -> Any:
        """The result as a JSON value."""
        return self.answer.value
