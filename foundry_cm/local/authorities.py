"""Whom a module trusts besides the local Foundry, in either mode and whatever client it uses.

Public authorities are those of this machine's store and of certifi. Files that a person passes on by
name (`--env SSL_CERT_FILE`) join them, wherever they are trusted. What the shell has set stays out: a
Source whose certificate is the company's own would work here and fail in Foundry.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from foundry_cm.errors import USAGE, CmError

# By these a client is told which authorities it trusts; Node adds those of the last to its own.
NAMED_BY = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
AUTHORITIES = (*NAMED_BY, "NODE_EXTRA_CA_CERTS")


def named_authorities(variables: Mapping[str, str]) -> str:
    """The authorities in the files that a person names on purpose, as a company's own; as PEM.

    Raises `CmError` for a file that cannot be read.
    """
    found = ""
    for name in AUTHORITIES:
        if file := variables.get(name):
            try:
                found += Path(file).read_text(encoding="ascii").rstrip() + "\n"
            except (OSError, UnicodeDecodeError) as error:
                raise CmError(
                    f"{name} names a file that cannot be read: {error}",
                    where=file,
                    fix="Name a file of certificates in PEM.",
                    code="BadAuthorities",
                    exit_code=USAGE,
                ) from None
    return found


@cache
def public_authorities() -> str:
    """Those of this machine and of certifi, as PEM; what SSL_CERT_FILE adds in a shell is not among them.

    Clients differ in which of the two they trust: requests and httpx take those of certifi.
    """
    paths = ssl.get_default_verify_paths()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if Path(paths.openssl_cafile).is_file():
        context.load_verify_locations(cafile=paths.openssl_cafile)
    else:
        _load_folder(context, Path(paths.openssl_capath))
    if find_spec("certifi"):
        import certifi

        context.load_verify_locations(cafile=certifi.where())
    return "".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))


def _load_folder(context: ssl.SSLContext, folder: Path) -> None:
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        if file.suffix in (".pem", ".crt", ".0"):
            with contextlib.suppress(OSError):
                context.load_verify_locations(cafile=str(file))
