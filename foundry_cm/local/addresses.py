"""Where the local Foundry listens: on every name that a module may rightly use, and on loopback alone."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Sequence

from foundry_cm.errors import USAGE, CmError

LOOPBACK = "127.0.0.1"
# The ports of the real runtime: over TLS, and for the older protocol without.
RUNTIME_PORT, OLDER_PORT = 8945, 8946
# Of the local platform, beside that of the query panel.
PLATFORM_PORT = 8948
# A name that no server answers for takes seconds to look up.
_LOOKUP_SECONDS = 0.5
_TRIES = 20
# A host may have another name (with an underscore), and no certificate can have that.
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


def bind(port: int, address: str = LOOPBACK) -> socket.socket:
    """A listening socket on loopback; port 0 takes any free one.

    Raises `CmError` where another program has the port.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        # Of two that bind a port at the same time, only one can listen.
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CmError(
            f"Port {port} on {address} is not free: {error.strerror}",
            fix="Leave the option out to use a free port.",
            code="PortTaken",
            exit_code=USAGE,
        ) from None
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def bind_all(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """A listening socket on each address, all with one port; raises `CmError` as `bind` does."""
    tries = 1 if port else _TRIES
    while True:
        tries -= 1
        listeners = [bind(port, addresses[0])]
        try:
            chosen = listeners[0].getsockname()[1]
            for address in addresses[1:]:
                listeners.append(bind(chosen, address))
        except CmError:
            for listener in listeners:
                listener.close()
            if not tries:
                raise
        else:
            return listeners


def bind_next(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """A listening socket on each address, with that port or the next one that is free."""
    for number in range(port, min(port + 100, 65536)):
        with contextlib.suppress(CmError):
            return bind_all(addresses, number)
    return bind_all(addresses, 0)


def free_port(preferred: int) -> int:
    """The preferred port, or 0 (any free one) where another program has it."""
    try:
        for listener in bind_all(loopback_addresses(), preferred):
            listener.close()
    except CmError:
        return 0
    return preferred


def loopback_addresses() -> list[str]:
    """127.0.0.1, ::1 where the machine has it, and what its own name stands for where that is loopback."""
    found = [LOOPBACK]
    for address in ("::1", *_own_addresses()):
        if address not in found and ipaddress.ip_address(address).is_loopback:
            with contextlib.suppress(CmError):
                bind(0, address).close()
                found.append(address)
    return found


def _own_addresses() -> list[str]:
    found: list[str] = []

    def look_up() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            for *_, address in socket.getaddrinfo(socket.gethostname(), None):
                # An address of IPv6 may carry the name of its interface.
                found.append(str(address[0]).partition("%")[0])

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_LOOKUP_SECONDS)
    return list(found)


def certifiable(*names: str) -> list[str]:
    """Those of some names and addresses that a certificate can name, each once."""
    return [name for name in dict.fromkeys(names) if ":" in name or _HOST_NAME.fullmatch(name)]
