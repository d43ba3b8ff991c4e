"""Brings the files of weights.lock to a folder: resumed, verified, and all of them or none."""

import functools
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import requests
import stamina
from filelock import FileLock, Timeout

from .lock import Lock, WeightFile, WeightsError, sha256_of, verify

ATTEMPTS = 8
# A connection that breaks loses at most this much of what had arrived.
PIECE = 1 << 16
LONGEST_WAIT = 30.0
SPARE_BYTES = 64 << 20
CONNECT_AND_READ_SECONDS = (10, 60)
MORE_SPACE = "give the replica more disk, or name another folder in WEIGHTS_CACHE"

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class TransientError(Exception):
    """A failure that may pass, so that another try is worth it."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        """Say what failed, and how many seconds the server asked to wait, if it did."""
        super().__init__(what)
        self.wait = wait


class Body(NamedTuple):
    """A file on its way: the offset its bytes begin at, its whole size if known, the bytes."""

    start: int
    size: int | None
    pieces: Iterator[bytes]


class Origin(Protocol):
    """Where files come from."""

    def open(self, path: str, start: int) -> AbstractContextManager[Body]:
        """The bytes of a file from `start` on, or all of them where the origin cannot resume.

        Raises TransientError for what may pass and WeightsError for what will not.
        """
        ...


class HttpsOrigin:
    """Files below an https address."""

    def __init__(self, base: str, session: requests.Session) -> None:
        """Take files from below `base`; credentials and proxies, if any, are the session's."""
        self.base = base.rstrip("/") + "/"
        self.session = session
        if urlsplit(base).scheme != "https":
            raise WeightsError(f"{base} is not an https address", "weights travel over https only")

    @contextmanager
    def open(self, path: str, start: int) -> Iterator[Body]:
        """The bytes of `path` from `start` on, by a Range request."""
        url = self.base + quote(path)
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        request = functools.partial(self.session.get, url, headers=headers, stream=True)
        with _transport_errors(url), request(timeout=CONNECT_AND_READ_SECONDS) as response:
            _raise_for_status(response, url)
            first = start if response.status_code == 206 else 0
            length = response.headers.get("Content-Length")
            yield Body(first, first + int(length) if length else None, response.iter_content(PIECE))


def with_retries(action: Callable[[], Result]) -> Result:
    """Run `action` again after each TransientError, ever later, and WeightsError in the end."""

    def backoff(error: Exception) -> bool | float:
        if not isinstance(error, TransientError):
            return False
        log.warning("Weights: %s", error)
        return min(error.wait, LONGEST_WAIT) if error.wait is not None else True

    retrying = stamina.RetryingCaller(
        attempts=ATTEMPTS, timeout=None, wait_initial=0.5, wait_max=LONGEST_WAIT
    )
    try:
        return retrying(backoff, action)
    except TransientError as error:
        raise WeightsError(
            f"{error}, {ATTEMPTS} times in a row",
            "inside Foundry, import a Source whose network policy allows that host",
        ) from None


@contextmanager
def _transport_errors(url: str) -> Iterator[None]:
    host = urlsplit(url).hostname
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise WeightsError(
            f"the certificate of {host} is not trusted ({_reason(error)})",
            "name its CA in REQUESTS_CA_BUNDLE",
        ) from None
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise TransientError(f"the connection to {host} failed ({_reason(error)})") from error
    except requests.exceptions.RequestException as error:
        raise WeightsError(f"{url} cannot be fetched: {error}", "correct the origin") from None


def _reason(error: BaseException) -> str:
    """The innermost cause, which names the fault where the outer layers name themselves."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _raise_for_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    said = f"{url} answered {status}"
    if status == 429 or status >= 500:
        wait = response.headers.get("Retry-After", "")
        raise TransientError(said, float(wait) if wait.isdigit() else None)
    if status in (401, 403):
        raise WeightsError(said, "give the token of a reader in HF_TOKEN, or use a Source")
    if status == 404:
        raise WeightsError(said, "correct the origin in pyproject.toml, then `cm weights pull`")
    raise WeightsError(said, "open the address in a browser to see why")


def download(lock: Lock, reach: Callable[[], Origin], cache: Path) -> Path:
    """The folder of the locked files below `cache`, downloaded unless a good copy is there.

    `reach` gives the origin; a good copy needs none, and so no network and no credentials.
    Only one process downloads, the others wait for it. Raises WeightsError; what had arrived by
    then is kept and resumed by the next start.
    """
    target = cache / lock.name
    with alone(cache, lock.name):
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
        staging = cache / f"{lock.name}.partial"
        check_space(cache, lock.size - _bytes_below(staging))
        progress = Progress(lock.size)
        with space_errors(cache):
            for file in lock.files:
                fetch(file, origin, staging, progress.add)
            staging.replace(target)
    log.info("Weights: %s, verified, in %s", progress.summary(), target)
    return target


@contextmanager
def alone(cache: Path, name: str) -> Iterator[None]:
    """Wait until no other process downloads `name` into `cache`, and keep others out meanwhile."""
    guard = FileLock(cache / f".{name}.guard")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            guard.acquire(timeout=0)
        except Timeout:
            log.info("Weights: another process is downloading them; waiting")
            guard.acquire()
    except OSError as error:
        raise WeightsError(
            f"{cache} is not writable ({error.strerror})",
            "name a writable folder in WEIGHTS_CACHE",
        ) from None
    try:
        yield
    finally:
        guard.release()


def check_space(folder: Path, needed: int) -> None:
    """Raise WeightsError unless the disk of `folder` has room for `needed` bytes more."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise WeightsError(
            f"{folder} has {megabytes(free)} free and the weights need "
            f"{megabytes(needed + SPARE_BYTES)}",
            MORE_SPACE,
        )


@contextmanager
def space_errors(folder: Path) -> Iterator[None]:
    """Turn a failed write into a WeightsError that says what to do."""
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"writing to {folder} failed ({error.strerror or error})", MORE_SPACE
        ) from None


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fetch(file: WeightFile, origin: Origin, folder: Path, report: Callable[[int], None]) -> None:
    """Bring one file into `folder`, going on where an earlier try stopped; `report` gets the bytes.

    A pass over the file that began with bytes of an earlier try and ends with another hash than
    the lock's is repeated once from the start. Raises WeightsError.
    """
    done = folder / file.path
    if done.is_file() and done.stat().st_size == file.size and sha256_of(done) == file.sha256:
        report(file.size)
        return
    part = done.with_name(done.name + ".part")
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
            f"{file.path} from {getattr(origin, 'base', 'the origin')} has SHA-256 {digest} where "
            f"weights.lock says {file.sha256}",
            "if the change is meant, run `cm weights pull --update`",
        )
    part.replace(done)


def receive(file: WeightFile, origin: Origin, part: Path, report: Callable[[int], None]) -> None:
    """Fill `part` with the bytes of the file, in as many tries as it takes (at most ATTEMPTS)."""

    report(part.stat().st_size if part.exists() else 0)
    with_retries(lambda: _receive_once(file, origin, part, report))


def _receive_once(
    file: WeightFile, origin: Origin, part: Path, report: Callable[[int], None]
) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > file.size:
        part.unlink()
        report(-have)
        have = 0
    if have == file.size and part.exists():
        return
    with origin.open(file.path, have) as body, part.open("ab") as out:
        if body.start != have:
            out.truncate(body.start)
            report(body.start - have)
            have = body.start
        for piece in body.pieces:
            out.write(piece)
            report(len(piece))
            have += len(piece)
            if have > file.size:
                break
    if have < file.size:
        raise TransientError(f"{file.path} ended after {have} of {file.size} bytes")


class Progress:
    """Counts bytes, and logs a line each time another tenth has arrived or ten seconds are over."""

    def __init__(self, total: int) -> None:
        """Expect `total` bytes."""
        self.total = total
        self.count = self.logged = 0
        self.began = self.spoke = time.monotonic()

    def add(self, count: int) -> None:
        """Count `count` bytes more (or fewer, when a file starts anew)."""
        self.count += count
        now = time.monotonic()
        if (self.count - self.logged) * 10 >= self.total or now - self.spoke > 10:
            self.logged, self.spoke = self.count, now
            log.info("Weights: %s of %s", megabytes(self.count), megabytes(self.total))

    def summary(self) -> str:
        """How much came in how many seconds."""
        return f"{megabytes(self.total)} in {time.monotonic() - self.began:.1f} s"


def megabytes(count: int) -> str:
    """A number of bytes as people say it."""
    return f"{count / 1e6:,.1f} MB"
