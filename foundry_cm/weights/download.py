"""Downloads the files of weights.lock into a folder: resumed, verified, all of them or none."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import stamina
from filelock import FileLock, Timeout

from .lock import PART, Lock, WeightFile, WeightsError, sha256_of, verify

ATTEMPTS = 8
LONGEST_WAIT = 30.0
# A download that is slower than this, in bytes a second over STALL_SECONDS, is started again.
SLOWEST = 1000
STALL_SECONDS = 30.0
SPARE_BYTES = 64 << 20
ELSEWHERE = ", or name another folder in WEIGHTS_CACHE"

Result = TypeVar("Result")

log = logging.getLogger(__name__)
# Its own line about each retry says less than ours.
logging.getLogger("stamina").setLevel(logging.ERROR)


class TransientError(Exception):
    """A failure that can pass: a retry may help."""

    def __init__(
        self, what: str, fix: str = "try again in a while", wait: float | None = None
    ) -> None:
        """Say what failed, how to mend it if it stays, and the seconds that the server asked to wait."""
        super().__init__(what)
        self.fix = fix
        self.wait = wait


class StartOver(TransientError):
    """The bytes that have arrived cannot be continued."""


class Body(NamedTuple):
    """A file that arrives: the offset of its first byte, and what the origin says of the whole."""

    start: int
    size: int | None
    # The version of the file, and its hash: algorithm and hex digits.
    version: str | None
    digest: tuple[str, str] | None
    pieces: Iterator[bytes]


class Origin(Protocol):
    """Where files come from."""

    base: str

    def open(self, path: str, start: int, version: str | None) -> AbstractContextManager[Body]:
        """The bytes of a file from `start` on, or all where the origin cannot resume that version.

        Raises TransientError for what may pass and WeightsError for what will not.
        """
        ...


def with_retries(action: Callable[[], Result]) -> Result:
    """Run `action` again after each TransientError, with growing pauses; WeightsError after the last."""

    def backoff(error: Exception) -> bool | float:
        if not isinstance(error, TransientError):
            return False
        log.warning("Weights: %s; trying again", error)
        return min(error.wait, LONGEST_WAIT) if error.wait is not None else True

    retrying = stamina.RetryingCaller(
        attempts=ATTEMPTS, timeout=None, wait_initial=0.5, wait_max=LONGEST_WAIT
    )
    try:
        return retrying(backoff, action)
    except TransientError as error:
        raise WeightsError(f"{error}, {ATTEMPTS} times in a row", error.fix) from None


def cache_folder() -> Path:
    """Where downloaded weights are kept: WEIGHTS_CACHE, or ~/.cache/weights."""
    try:
        return Path(os.environ.get("WEIGHTS_CACHE") or "~/.cache/weights").expanduser()
    except RuntimeError:
        raise WeightsError(
            "there is no home folder for the weights",
            "name a writable folder in WEIGHTS_CACHE",
            "environment",
        ) from None


def download(
    lock: Lock,
    reach: Callable[[], Origin],
    cache: Path,
    report: Callable[[int], None] | None = None,
) -> Path:
    """The folder of the locked files below `cache`, downloaded unless a good copy is there.

    `reach` gives the origin; a good copy needs none, and so no network and no credentials.
    `report` gets each count of bytes that came; without it, they are logged. Only one process
    downloads, and the others wait for it. After a WeightsError, what had arrived is kept, and the next
    start resumes there.
    """
    target, staging = cache / lock.name, cache / f"{lock.name}.partial"
    with alone(cache, lock.name), disk_errors(cache):
        if target.exists():
            try:
                verify(target, lock)
            except WeightsError as error:
                log.warning("The cached copy is unusable, so it is fetched again: %s", error)
                shutil.rmtree(target)
            else:
                log.info("Weights: using the verified copy in %s", target)
                return target
        origin = reach()
        check_space(cache, lock.size - _bytes_below(staging))
        progress = Progress(lock.size)
        for file in lock.files:
            fetch(file, origin, staging, report or progress.add)
        staging.replace(target)
    log.info("Weights: %s, verified, in %s", progress.summary(), target)
    return target


@contextmanager
def alone(folder: Path, name: str, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Wait until no other process downloads `name` into `folder`, and keep others out meanwhile."""
    guard = FileLock(folder / f".{name}.guard")
    with disk_errors(folder, elsewhere):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            guard.acquire(timeout=0)
        except Timeout:
            log.info("Weights: another process is downloading them; waiting")
            guard.acquire()
    try:
        yield
    finally:
        guard.release()


def check_space(folder: Path, needed: int, elsewhere: str = ELSEWHERE) -> None:
    """Raise WeightsError unless the disk of `folder` has room for `needed` bytes more."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise WeightsError(
            f"{folder} has {megabytes(free)} free and the weights need "
            f"{megabytes(needed + SPARE_BYTES)}",
            f"make room on its disk{elsewhere}",
            str(folder),
        )


@contextmanager
def disk_errors(folder: Path, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Turn an error of the disk into a WeightsError that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise WeightsError(
            f"writing to {folder} failed ({error.strerror or error})",
            f"{'make room on its disk' if full else 'make it a folder to write in'}{elsewhere}",
            str(folder),
        ) from None


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fetch(file: WeightFile, origin: Origin, folder: Path, report: Callable[[int], None]) -> None:
    """Download one file into `folder`, from where an earlier try stopped; `report` gets the bytes.

    If the hash of a resumed file is not the lock's, it is downloaded once more from the start. Raises
    WeightsError.
    """
    done = folder / file.path
    if done.is_file() and done.stat().st_size == file.size and sha256_of(done) == file.sha256:
        report(file.size)
        return
    part = done.with_name(done.name + PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    resumed = part.exists()
    receive(file, origin, part, report)
    digest = sha256_of(part)
    if digest != file.sha256 and resumed:
        part.unlink()
        report(-file.size)
        receive(file, origin, part, report)
        digest = sha256_of(part)
    if digest != file.sha256:
        part.unlink()
        raise WeightsError(
            f"{file.path} from {origin.base} has SHA-256 {digest}, but weights.lock has "
            f"{file.sha256}",
            "if the change is intended, run `cm weights pull --update`",
            "weights.lock",
        )
    part.replace(done)


def receive(
    file: WeightFile, origin: Origin, part: Path, report: Callable[[int], None]
) -> tuple[str, str] | None:
    """Fill `part` with the bytes of the file, in at most ATTEMPTS tries.

    Returns the hash that the origin states, if it does. If `file` has no hash, a download is resumed
    only when the origin says that the version is the same.
    """
    arrival = _Arrival(file, origin, part, report)
    with_retries(arrival.go_on)
    return arrival.digest


class _Arrival:
    """The download of one file into `part`, over several tries."""

    def __init__(
        self, file: WeightFile, origin: Origin, part: Path, report: Callable[[int], None]
    ) -> None:
        self.file, self.origin, self.part, self.report = file, origin, part, report
        self.version: str | None = None
        self.digest: tuple[str, str] | None = None
        self.have = part.stat().st_size if part.exists() else 0
        report(self.have)

    def go_on(self) -> None:
        """Try once to get the missing bytes."""
        # A known hash tells in the end whether all bytes are of one version.
        if self.have > self.file.size or not (self.file.sha256 or self.version):
            self._drop()
        if self.have == self.file.size and self.part.exists():
            return
        try:
            with self.origin.open(self.file.path, self.have, self.version) as body:
                self._take(body)
        except StartOver:
            self._drop()
            raise
        if self.have < self.file.size:
            raise TransientError(
                f"{self.file.path} ended after {self.have} of {self.file.size} bytes"
            )

    def _take(self, body: Body) -> None:
        file = self.file
        if body.size not in (None, file.size):
            raise WeightsError(
                f"{file.path} from {self.origin.base} has {body.size} bytes, not {file.size}",
                "if the change is intended, run `cm weights pull --update`",
            )
        if body.start == 0:
            self._drop()
            self.digest = body.digest
        elif self.version and body.version != self.version:
            raise StartOver(f"{file.path} has changed at its origin")
        self.version = body.version
        pace = _Pace(file.path)
        with self.part.open("ab") as out:
            for piece in body.pieces:
                out.write(piece)
                self.have += len(piece)
                self.report(len(piece))
                if self.have > file.size:
                    raise StartOver(f"{file.path} has more than the {file.size} bytes announced")
                pace.add(len(piece))

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.report(-self.have)
        self.have = 0


class _Pace:
    """Checks that a download is fast enough to wait for."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.count, self.began = 0, time.monotonic()

    def add(self, count: int) -> None:
        """Count `count` more bytes; raises TransientError if there are too few by now."""
        self.count += count
        seconds = time.monotonic() - self.began
        if seconds < STALL_SECONDS:
            return
        if self.count < seconds * SLOWEST:
            raise TransientError(f"{self.path} comes at {self.count / seconds:,.0f} bytes a second")
        self.count, self.began = 0, time.monotonic()


class Progress:
    """Counts bytes, and logs a line after each tenth or ten seconds."""

    def __init__(self, total: int) -> None:
        """Expect `total` bytes."""
        self.total = total
        self.count = self.logged = 0
        self.began = self.spoke = time.monotonic()

    def add(self, count: int) -> None:
        """Count `count` more bytes, or fewer when a file starts again."""
        self.count += count
        now = time.monotonic()
        if (self.count - self.logged) * 10 >= self.total or now - self.spoke > 10:
            self.logged, self.spoke = self.count, now
            log.info("Weights: %s of %s", megabytes(self.count), megabytes(self.total))

    def summary(self) -> str:
        """How much arrived in how many seconds."""
        return f"{megabytes(self.total)} in {time.monotonic() - self.began:.1f} s"


def megabytes(count: int) -> str:
    """A number of bytes, in megabytes."""
    return f"{count / 1e6:,.1f} MB"
