"""The public certificate authorities, as a file that a client is pointed at must hold them as well."""

from __future__ import annotations

import contextlib
import ssl
from functools import cache
from importlib.util import find_spec
from pathlib import Path


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
