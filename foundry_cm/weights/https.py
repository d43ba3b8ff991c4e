"""Downloads files below an https address, whole or from an offset on."""

import os
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3

from .download import Body, StartOver, TransientError
from .lock import WeightsError, url_problem

PIECE = 1 << 16
CONNECT_AND_READ_SECONDS = (10, 30)


class Session(requests.Session):
    """A session that sends its own credentials or none: never those of ~/.netrc.

    It trusts the company's CA in REQUESTS_CA_BUNDLE or SSL_CERT_FILE. requests itself does not read the
    second, and Python reads no other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request

    def merge_environment_settings(self, *args: Any, **options: Any) -> Any:
        """Proxies and certificates, as the variables of this process say."""
        settings = super().merge_environment_settings(*args, **options)
        authority = os.environ.get("SSL_CERT_FILE") if self.trust_env else None
        if settings["verify"] is True and authority:
            settings["verify"] = authority
        if isinstance(settings["verify"], str) and not Path(settings["verify"]).exists():
            raise WeightsError(
                f"there is no file {settings['verify']} with the CAs to trust",
                "correct REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
            )
        return settings

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """After a redirect: what was for one host does not go to another."""
        before, after = urlsplit(response.request.url), urlsplit(prepared_request.url)
        if before[:2] != after[:2]:
            prepared_request.headers.pop("Authorization", None)


class HttpsOrigin:
    """Files below an https address."""

    # What to do about an answer of 401 or 403.
    refused = "a private address needs a Source that has its credentials"

    def __init__(self, base: str, session: requests.Session | None = None) -> None:
        """Take files from below `base`; credentials and proxies, if any, are the session's."""
        if problem := url_problem(base):
            raise WeightsError(f"the address of the weights {problem}", "use an https address")
        self.base = base.rstrip("/") + "/"
        self.session = session or Session()

    @contextmanager
    def open(self, path: str, start: int, version: str | None = None) -> Iterator[Body]:
        """The bytes of `path` from `start` on, by a Range request, or all of them.

        Raises StartOver where bytes from `start` on are not what comes.
        """
        url = self.base + quote(path)
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        if start and version:
            headers["If-Range"] = version
        with answer(self.session, url, headers) as response:
            self._raise_for_status(response, url)
            _raise_for_kind(response, url)
            first, size = _extent(response, start, path)
            yield Body(first, size, _version(response), _digest(response), _pieces(response))

    def _raise_for_status(self, response: requests.Response, url: str) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        said = f"{url} answered {status}"
        if status == 416:
            raise StartOver(said)
        if status == 429 or status >= 500:
            wait = response.headers.get("Retry-After", "")
            raise TransientError(said, wait=float(wait) if wait.isdigit() else None)
        if status in (401, 403):
            raise WeightsError(said, self.refused)
        if status == 404:
            raise WeightsError(said, "correct the origin in pyproject.toml, then `cm weights pull`")
        raise WeightsError(said, "open the address in a browser to see why")


@contextmanager
def answer(
    session: requests.Session, url: str, headers: Mapping[str, str]
) -> Iterator[requests.Response]:
    """The answer to a GET, with any status; a failure on the way is a WeightsError."""

    def refuse_plain_http(response: requests.Response, *_: Any, **__: Any) -> None:
        target = urljoin(response.url, response.headers.get("Location", ""))
        if response.is_redirect and urlsplit(target).scheme != "https":
            raise WeightsError(
                f"{urlsplit(response.url).hostname} redirects to an address that is not https",
                "choose an origin that uses https",
            )

    hooks = {"response": [*session.hooks.get("response", ()), refuse_plain_http]}
    with (
        _transport_errors(urlsplit(url).hostname),
        session.get(
            url, headers=headers, stream=True, hooks=hooks, timeout=CONNECT_AND_READ_SECONDS
        ) as response,
    ):
        yield response


@contextmanager
def _transport_errors(host: str | None) -> Iterator[None]:
    try:
        yield
    except requests.exceptions.SSLError as error:
        reason = _reason(error)
        unknown = "issuer" in reason or "self-signed" in reason
        raise WeightsError(
            f"the certificate of {host} is not trusted ({reason})",
            "name a file with its CA in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
            if unknown
            else "ask the owner of that server, or choose another origin",
        ) from None
    except requests.exceptions.ProxyError as error:
        raise TransientError(
            f"the proxy before {host} does not let it through ({_reason(error)})",
            "correct HTTPS_PROXY, or name the host in NO_PROXY",
        ) from error
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise TransientError(
            f"the connection to {host} failed ({_reason(error)})",
            _way_out(),
        ) from error
    except requests.exceptions.RequestException as error:
        # Its text is not shown: it may hold a header or the address of a proxy, with what is secret.
        if "SOCKS" in str(error):
            raise WeightsError(
                "a SOCKS proxy needs the package PySocks",
                "run `pip install pysocks`, or name another proxy in HTTPS_PROXY",
                "environment",
            ) from None
        raise WeightsError(
            f"the request to {host} cannot be made ({type(error).__name__})",
            "correct the origin, or the proxy in HTTPS_PROXY",
        ) from None


def _way_out() -> str:
    """How to reach a host from here; in Foundry a module has no network of its own."""
    if "FOUNDRY_COMPUTE_MODULE_RID" in os.environ:
        return "in Foundry, import a Source whose network policy allows that host"
    return "correct the origin, or name the proxy of this network in HTTPS_PROXY"


def _reason(error: BaseException) -> str:
    """The innermost cause, which names the fault where the outer layers name themselves."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _raise_for_kind(response: requests.Response, url: str) -> None:
    """Refuse an answer that is not the file itself."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise WeightsError(
            f"{url} is sent compressed ({encoding}), though it was requested uncompressed",
            "configure its server to send it uncompressed, or choose another origin",
        )
    kind = response.headers.get("Content-Type", "").lower()
    if "html" in kind and not url.endswith((".html", ".htm")):
        raise WeightsError(
            f"{url} is a web page, not the file",
            "open the address in a browser: it may ask to log in",
        )


def _extent(response: requests.Response, start: int, path: str) -> tuple[int, int | None]:
    """Where the bytes of an answer begin, and the size of the whole file."""
    if response.status_code == 206:
        stated = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", stated)
        if match is None or int(match[1]) != start:
            raise StartOver(f"{path} was asked for from byte {start} on, and came as {stated!r}")
        return start, None if match[3] == "*" else int(match[3])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _version(response: requests.Response) -> str | None:
    """The version of the file: its strong ETag, or else its date."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _digest(response: requests.Response) -> tuple[str, str] | None:
    """The hash of the whole file that the origin states, if it does: algorithm and hex digits."""
    headers = response.headers
    if response.status_code != 200:
        return None
    if stated := headers.get("X-Checksum-Sha256"):
        return "sha256", stated.lower()
    stated = ",".join(headers.get(name, "") for name in ("Repr-Digest", "Digest", "X-Goog-Hash"))
    stated += f",md5={headers.get('Content-MD5', '')}"
    if match := re.search(r"(?i)\bsha-256=:?([a-z0-9+/]{43}=)", stated):
        return "sha256", b64decode(match[1]).hex()
    if match := re.search(r"(?i)\bmd5=:?([a-z0-9+/]{22}==)", stated):
        return "md5", b64decode(match[1]).hex()
    return None


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The bytes as they arrive, so that a slow answer is noticed."""
    while piece := response.raw.read1(PIECE, decode_content=False):
        yield piece
