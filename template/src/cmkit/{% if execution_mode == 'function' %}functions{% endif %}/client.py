"""The SDK's client of the runtime, with a connection for each call, and a stop that loses no call."""

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from compute_modules import startup as sdk
from compute_modules.client.internal_query_client import InternalQueryService
from requests.adapters import HTTPAdapter

# How long calls may run after SIGTERM. Foundry publishes no figure; Kubernetes waits 30 s by default.
GRACE_SECONDS = float(os.environ.get("GRACE_SECONDS", "30"))
# A poll gets a waiting job at once, so one that has waited this long comes back without one.
LAST_POLL_SECONDS = 1.0

log = logging.getLogger(__name__)


class Client(InternalQueryService):
    """Counts the running calls, so that the module can stop when they are answered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._polling = False
        self.stopping = False
        super().__init__(*args, **kwargs)

    def init_session(self) -> None:
        """Open a session that keeps a connection for each call, and one for the poll."""
        super().init_session()
        self.session.mount("https://", HTTPAdapter(pool_maxsize=self.concurrency + 1))

    def get_job_or_none(self) -> Any:
        """Ask for work, unless the module is stopping."""
        # Set before `stopping` is read: the signal can come between any two lines.
        self._polling = True
        while self.stopping:
            self._polling = False
            time.sleep(1)
        job = super().get_job_or_none()
        with self._lock:
            self._running += bool(job)
            self._polling = False
        return job

    def handle_job(self, job: dict[str, Any]) -> None:
        """Run a call and post its result."""
        try:
            super().handle_job(job)
        finally:
            with self._lock:
                self._running -= 1

    def drain(self) -> None:
        """Wait until nothing runs, then let the main thread end."""
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            with self._lock:
                asked = self._polling and waited < LAST_POLL_SECONDS
                if not self._running and not asked:
                    break
            if waited > GRACE_SECONDS:
                log.warning("Calls are lost: they took longer than %g s", GRACE_SECONDS)
                break
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)


def stop(signum: int, _frame: FrameType | None) -> None:
    """Take no more calls and finish those that run; a second signal stops the module at once."""
    client = sdk.QUERY_CLIENT
    if not isinstance(client, Client) or client.stopping:
        sys.exit(0)
    log.info("Stopping on %s", signal.Signals(signum).name)
    client.stopping = True
    threading.Thread(target=client.drain, daemon=True).start()
