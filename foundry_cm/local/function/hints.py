"""Why a call failed and how to mend it, as far as there is evidence."""

from __future__ import annotations

from foundry_cm.errors import CmError


def worker_died() -> CmError:
    """The failure of a call whose worker of the SDK's process pool died."""
    return CmError(
        "The worker process of the module died while it held this call",
        fix="Foundry would wait for the answer for up to 22 hours: start with "
        "ConcurrencyType.THREAD_POOL, so that the whole module dies and restarts.",
        code="WorkerDied",
    )
