"""What must not be written down of a call to a system outside: credentials, however they got into it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from foundry_cm.local.sources.declared import Source

HIDDEN = "REDACTED"

# Headers whose values say nothing of who asks.
_HARMLESS = {
    "accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type",
    "host", "user-agent",
}  # fmt: skip
_CREDENTIAL = re.compile(r"auth|cookie|token|secret|key|password|session|credential", re.IGNORECASE)
# Names under which an answer in JSON hands out a credential; the token of a next page is none.
_HANDED_OUT = {
    "accesskey", "accesstoken", "apikey", "apitoken", "authorization", "authtoken", "bearertoken",
    "clientsecret", "idtoken", "passwd", "password", "privatekey", "refreshtoken", "secret",
    "secretaccesskey", "secretkey", "sessiontoken", "token",
}  # fmt: skip
# Names under which an address carries one besides, signed addresses among them.
_IN_ADDRESS = _HANDED_OUT | {
    "awsaccesskeyid", "auth", "sig", "signature", "xamzcredential", "xamzsecuritytoken",
    "xamzsignature", "xgoogcredential", "xgoogsignature",
}  # fmt: skip
_PAIR = re.compile(r'("([\w.-]+)"\s*:\s*)"(?:[^"\\]|\\.)*"')
_NAMED = re.compile(rb'([A-Za-z][\w.-]*)"?\s*[=:]')
# A shorter value is found everywhere, and is no credential.
_SHORTEST = 6


def of_source(source: Source) -> set[str]:
    """The credentials that a Source holds, in each form in which they travel."""
    found = [*source.secrets.values(), *source.query.values(), source.proxy_token]
    found += [value for name, value in source.headers.items() if name.lower() not in _HARMLESS]
    if source.aws:
        found += [
            source.aws.access_key_id,
            source.aws.secret_access_key,
            source.aws.session_token or "",
        ]
    found += [token.access_token for token in (source.gcp, source.oauth) if token]
    return _forms(found)


def of_headers(headers: Iterable[tuple[str, str]]) -> set[str]:
    """The credentials among the headers of a request or an answer."""
    return _forms(value for name, value in headers if _CREDENTIAL.search(name))


def of_query(query: Iterable[tuple[str, str]]) -> set[str]:
    """The credentials among the parameters of a request, however short."""
    found = {value for name, value in query if value and _plain(name) in _IN_ADDRESS}
    return found | _forms(found)


def hidden_in(secrets: Iterable[str], content: bytes) -> bool:
    """Whether one of these credentials stands in what was said."""
    return any(secret.encode() in content for secret in secrets)


def logs_in(body: bytes) -> bool:
    """Whether the body of a request names a credential: even a hash would help to guess it."""
    names = (match[1].decode() for match in _NAMED.finditer(body))
    return any(_plain(name) in _HANDED_OUT for name in names)


def redacted(secrets: Iterable[str], text: str) -> str:
    """A text without these credentials, and without those that JSON hands out under a usual name."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _PAIR.sub(_without_value, text)


def without_query(
    query: Iterable[tuple[str, str]], own: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The parameters of a request but those that its Source adds to each, in one order."""
    return sorted((name, value) for name, value in query if name not in own)


def _without_value(match: re.Match[str]) -> str:
    return f'{match[1]}"{HIDDEN}"' if _plain(match[2]) in _HANDED_OUT else match[0]


def _plain(name: str) -> str:
    return re.sub(r"[._-]", "", name).lower()


def _forms(values: Iterable[str]) -> set[str]:
    found = set()
    for value in values:
        # `Bearer TOKEN` and `Basic USER:PASSWORD`, `name=value; Path=/`.
        parts = {value, *re.split(r"[\s;,]+|(?<=\w)=(?=\w)", value)}
        for part in list(parts):
            parts |= _decoded(part)
        found |= {form for part in parts for form in (part, quote(part, safe=""))}
    return {form for form in found if len(form) >= _SHORTEST}


def _decoded(text: str) -> set[str]:
    """What a login of the form `Basic ...` says: both, and the password."""
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except (ValueError, binascii.Error):
        return set()
    return {plain, plain.partition(":")[2]} if ":" in plain and plain.isprintable() else set()
