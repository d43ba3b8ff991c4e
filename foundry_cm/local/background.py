"""An event loop in a thread, for code that knows of none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

_CLEAN_SECONDS = 10.0


class Background:
    """Runs coroutines for ordinary functions, between `start` and `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it is started and not closed."""
        return self._thread.is_alive()

    def begin(self, coroutine: Any) -> concurrent.futures.Future[Any]:
        """Let a coroutine run, and do not wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Any, *, to_its_end: bool = False) -> Any:
        """The result of a coroutine; Ctrl-C cancels it, and waits until it has cleaned up behind itself.

        `to_its_end`: it is itself what cleans up, so Ctrl-C only waits.
        """
        ended = threading.Event()

        async def watched() -> Any:
            try:
                return await coroutine
            finally:
                ended.set()

        running = self.begin(watched())
        try:
            return running.result()
        except BaseException:
            if not running.done() and (to_its_end or running.cancel()):
                ended.wait(_CLEAN_SECONDS)
            raise

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
