"""The public certificate authorities, as a file that a client is pointed at must hold them as well."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from foundry_cm.errors import USAGE, CmError

# By these a client is told which authorities it trusts.
NAMED_BY = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def named_authorities(variables: Mapping[str, str]) -> str:
    """The authorities in the files that a person names on purpose, as a company's own; as PEM.

    Raises `CmError` for a file that cannot be read.
    """
    found = ""
    for name in NAMED_BY:
        if file := variables.get(name):
            try:
                found += Path(file).read_text(encoding="utf-8").rstrip() + "\n"
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
