"""Foundry's rules for an image, as plain facts: `cm check` and `cm build` both go by them.

Sources: Foundry documentation, "Containers" and "Probes" of compute modules.
"""

from __future__ import annotations

import re

RESERVED_PORTS = (8945, 8946)

Broken = tuple[str, str] | None
"""What breaks a rule, and how to mend it; None for what is right."""

_NUMERIC = "End the Dockerfile with a numeric USER, such as USER 5001."
_SECRET_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?"
    r"|(API|ACCESS|SECRET|PRIVATE|ENCRYPTION|SIGNING)[_-]?KEY)$",
    re.IGNORECASE,
)
_PLAIN_VALUE = re.compile(r"([./~].*|true|false|yes|no|on|off|none|\d{0,4})", re.IGNORECASE)


def broken_user(user: str) -> Broken:
    """A USER that Foundry refuses: it takes a number that is not 0, with or without a group."""
    name, _, _ = user.partition(":")
    if not name:
        return "no USER is set: it runs as root", _NUMERIC
    if not name.isdecimal():
        return f'USER is "{user}", a name', _NUMERIC
    return ("USER is 0, root", _NUMERIC) if int(name) == 0 else None


def broken_port(port: str) -> Broken:
    """An exposed port that Foundry refuses; `port` may name a protocol, and be a range."""
    ports = port.partition("/")[0]
    first, _, last = ports.partition("-")
    numbers = range(int(first), int(last or first) + 1)
    if any(number in numbers for number in RESERVED_PORTS):
        what = f"port {ports} is exposed, which Foundry's runtime uses"
        return what, "Expose another one from 1024 to 65535."
    if int(first) < 1024 or int(last or first) > 65535:
        return f"port {ports} is exposed", "Expose one from 1024 to 65535, without 8945 and 8946."
    return None


def is_secret(name: str, value: str | None) -> bool:
    """Whether a variable of an image holds a secret: by its name, unless its value is no secret.

    `TOKENIZERS_PARALLELISM` and `MAX_TOKENS` are none, nor is the path of a file.
    """
    return bool(_SECRET_NAME.search(name)) and not (
        value is not None and _PLAIN_VALUE.fullmatch(value)
    )
