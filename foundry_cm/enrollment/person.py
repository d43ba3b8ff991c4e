"""The host and the token that a person has put into the shell, and what may be said of them."""

from __future__ import annotations

import os
import re
import ssl
import urllib.request
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.logins import hidden

HOSTNAME, TOKEN = "FOUNDRY_HOSTNAME", "FOUNDRY_TOKEN"
# By these the official client is told which authorities it trusts, the first of them first.
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Person:
    """Who asks which Foundry, and a file with the authorities that vouch for it; empty: the public ones."""

    host: str
    token: str = field(repr=False)
    authorities: str = ""

    @classmethod
    def at_this_shell(cls, purpose: str) -> Person:
        """Whom the variables of this shell name; `purpose` begins the sentence that says what lacks.

        Raises `CmError` where one is not set, or is no host and no token; it never repeats the token.
        """
        host, token = (os.environ.get(name, "").strip() for name in (HOSTNAME, TOKEN))
        missing = [name for name, value in ((HOSTNAME, host), (TOKEN, token)) if not value]
        if missing:
            raise CmError(
                f"{purpose} needs {' and '.join(missing)}, which {_are(missing)} not set here",
                fix=f"export {HOSTNAME}=acme.palantirfoundry.com; read -rs {TOKEN} && export {TOKEN}",
                code="NoToken",
                exit_code=USAGE,
            )
        if not _HOST.fullmatch(host):
            raise CmError(
                f'{HOSTNAME} is "{host}", which is not a host',
                fix=f"Write it without https:// and without a path: export "
                f"{HOSTNAME}=acme.palantirfoundry.com",
                code="Host",
                exit_code=USAGE,
            )
        if not _TOKEN.fullmatch(token):
            raise CmError(
                f"{TOKEN} contains white space or other characters that a token never has",
                fix=f"Set it again: read -rs {TOKEN} && export {TOKEN}",
                code="NoToken",
                exit_code=USAGE,
            )
        named = filter(None, map(os.environ.get, AUTHORITIES))
        return cls(host, token, next(named, ""))

    def tls(self) -> ssl.SSLContext:
        """What a connection to the host is verified with; raises `CmError` for a file that is no help."""
        if not self.authorities:
            context = ssl.create_default_context()
            # The official client trusts those; some machines have no others.
            if find_spec("certifi"):
                import certifi

                context.load_verify_locations(cafile=certifi.where())
            return context
        try:
            if Path(self.authorities).is_dir():
                return ssl.create_default_context(capath=self.authorities)
            return ssl.create_default_context(cafile=self.authorities)
        except (OSError, ssl.SSLError):
            raise CmError(
                f"{' or '.join(AUTHORITIES)} names a file that cannot be read as PEM",
                where=self.authorities,
                fix="Name a file of certificates in PEM, or unset the variable.",
                code="BadAuthorities",
                exit_code=USAGE,
            ) from None

    def proxy(self) -> str | None:
        """The proxy that this shell has for the host; the official client does not look for one."""
        if urllib.request.proxy_bypass(self.host):
            return None
        return urllib.request.getproxies().get("https")

    def unreachable(self, why: str) -> CmError:
        """The failure to reach the host at all."""
        fix = "Check the host, and the way to it (a proxy, a VPN)."
        if "issuer" in why or "self-signed" in why:
            fix = (
                f"Name the file with the CA of your company: export {AUTHORITIES[0]}=company-ca.pem"
            )
        return CmError(
            f"{self.host} cannot be reached: {self.hidden(why)}", fix=fix, code="Unreachable"
        )

    def hidden(self, text: str) -> str:
        """A text from elsewhere, without the token and without the login of a proxy."""
        return hidden(text.replace(self.token, "***"))


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
