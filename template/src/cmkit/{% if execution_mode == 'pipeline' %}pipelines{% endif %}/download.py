"""Reads a file while it is still being downloaded."""

import io
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .calls import call_until
from .ends import DownloadFailed, reason_of

BLOCK_BYTES = 1 << 18
CLOSE_SECONDS = 5.0


class Download:
    """Downloads a file to the local disk in the background: memory may be too small for it.

    `fetch` opens the response. When the connection breaks, it is opened again, and the bytes that are
    there already are skipped: a version of a file never changes.
    """

    def __init__(
        self,
        fetch: Callable[[], AbstractContextManager[Any]],
        path: Path,
        origin: str = "the file",
    ) -> None:
        self.path = path
        self._origin = origin
        self._fetch = fetch
        self._size = 0
        self._ended = False
        self._closed = threading.Event()
        self._failure: BaseException | None = None
        self._more = threading.Condition()
        path.touch()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def open(self) -> io.BufferedReader:
        """The file from its beginning; reading waits for what has not arrived yet."""
        return io.BufferedReader(_Arriving(self), BLOCK_BYTES)

    def complete(self) -> Path:
        """The path of the whole file, once it has arrived."""
        self.available(1 << 62)
        return self.path

    def close(self) -> None:
        """Stop the download; a request without an answer ends later, by its own timeout."""
        self._closed.set()
        self._thread.join(CLOSE_SECONDS)

    def available(self, size: int) -> int:
        """Wait until `size` bytes have arrived, or the whole file; how many there are.

        Raises DownloadFailed: a download that failed must not look like a shorter file.
        """
        with self._more:
            self._more.wait_for(lambda: self._ended or self._size >= size)
            if self._failure and self._size < size:
                reason = reason_of(self._failure)
                raise DownloadFailed(f"{self._origin} has not arrived: {reason}") from self._failure
            return self._size

    def _run(self) -> None:
        try:
            with self.path.open("wb") as file:
                call_until(self._closed, self._receive, file)
        except BaseException as error:
            self._failure = error
        with self._more:
            self._ended = True
            self._more.notify_all()

    def _receive(self, file: Any) -> None:
        skip = self._size
        with self._fetch() as response:
            for block in response.iter_bytes(BLOCK_BYTES):
                if self._closed.is_set():
                    return
                part = block[skip:]
                skip = max(0, skip - len(block))
                if part:
                    file.write(part)
                    file.flush()
                    with self._more:
                        self._size += len(part)
                        self._more.notify_all()


class _Arriving(io.RawIOBase):
    """Reads a file up to where it has arrived, and waits for the rest."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._file = download.path.open("rb", buffering=0)
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        there = self._download.available(self._position + 1)
        count = min(len(buffer), there - self._position)
        found = self._file.readinto(memoryview(buffer)[:count])
        self._position += found
        return found

    def close(self) -> None:
        self._file.close()
        super().close()
