"""Sign-in by a header that an authenticating proxy sets: off by default, and believed from the proxy's addresses alone.

A request that carries the header from anywhere else is refused, not let in as somebody less: whoever sends it there either
passed the proxy by, or the proxy's address is not the one that was configured. Knows no keys.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from xray_core.errors import ConfigurationError
from xray_server.access.keys import SCOPES
from xray_server.errors import HTTPError

PEER: Final = "xray_peer"  # in the scope: who is connected, whatever X-Forwarded-For says
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_NEVER: Final = frozenset({"authorization", "cookie", "host", "origin"})
_MAX_USER_CHARS: Final = 200
_BY_HEADER: Final = ("read", "admin")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """Which header names the user, from which addresses, and who of them may do what.

    Attributes:
        scope: of every user; `admins` have scope admin.
    """

    name: str
    proxies: Sequence[Network]
    scope: str = "read"
    admins: frozenset[str] = frozenset()

    def user(self, scope: Scope) -> str | None:
        """Who asks, as the proxy says; None where the request has no such header.

        Raises:
            HTTPError: 403 where it does not come from the proxy, or says more than one thing.
        """
        wanted = self.name.lower().encode()
        given = [value for name, value in scope["headers"] if name == wanted]
        if not given:
            return None
        peer = scope.get(PEER) or scope.get("client")
        if peer is None or not self._is_proxy(str(peer[0])):
            raise HTTPError(403, f"{self.name} is believed from the authenticating proxy alone (--trusted-proxies)")
        user: str = given[0].decode("latin-1").strip()
        if len(given) > 1 or not user or len(user) > _MAX_USER_CHARS or not user.isprintable():
            raise HTTPError(403, f"{self.name} does not name one user")
        return user

    def allowed(self, user: str) -> frozenset[str]:
        """What a user may do."""
        return SCOPES["admin" if user in self.admins else self.scope]

    def _is_proxy(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.split("%", 1)[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self.proxies)


def trusted_header(name: str, proxies: str, *, scope: str = "read", admins: str = "") -> TrustedHeader | None:
    """The setting from its texts; None without a name.

    Args:
        proxies, admins: with commas between.

    Raises:
        ConfigurationError: a header without addresses, or a text that is none.
    """
    if not name:
        if proxies or admins:
            raise ConfigurationError("--trusted-proxies and --trusted-admins say nothing without --trusted-header")
        return None
    if not _NAME.fullmatch(name) or name.lower() in _NEVER:
        raise ConfigurationError(f"--trusted-header {name!r}: name the header your proxy sets, as X-Forwarded-User")
    networks: list[Network] = []
    for text in filter(None, (each.strip() for each in proxies.split(","))):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            raise ConfigurationError(f"--trusted-proxies {text!r}: an address or network, as 10.0.0.5 or 10.0.0.0/24") from None  # fmt: skip
    if not networks:
        raise ConfigurationError(
            "--trusted-header needs --trusted-proxies: the addresses that your authenticating proxy connects from. "
            "Whoever else can connect could call themselves anybody"
        )
    if any(network.prefixlen == 0 for network in networks):
        raise ConfigurationError("--trusted-proxies: every address is no proxy's address")
    if scope not in _BY_HEADER:
        raise ConfigurationError(f"--trusted-scope {scope!r}: {' or '.join(_BY_HEADER)}")
    return TrustedHeader(name, networks, scope, frozenset(filter(None, (each.strip() for each in admins.split(",")))))
