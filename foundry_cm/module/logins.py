"""Logins in addresses, such as http://user:password@proxy.example.com."""

from __future__ import annotations

import re

LOGIN = re.compile(r"://([^/\s@]+)@")
_WHOLE = re.compile(r"://[^/\s]+@")


def hidden(text: str) -> str:
    """A text with *** in place of the logins in its addresses."""
    return _WHOLE.sub("://***@", text)
