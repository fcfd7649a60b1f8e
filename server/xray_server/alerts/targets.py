"""Targets: where a message may go. Owns their spelling, how they are shown, and which addresses are refused.

A target may hold secrets (a token in its path, a password), so it is shown masked everywhere but to its transport.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from xray_server.errors import TargetRefusedError

ALLOW_PRIVATE: Final = "XRAY_ALERTS_ALLOW_PRIVATE"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_webhook(target: str) -> bool:
    """Whether we deliver it ourselves; every other scheme is Apprise's."""
    return target.lower().startswith(("http://", "https://"))


def check_spelling(target: str) -> None:
    """Refuse what can be no target, without asking the network.

    Raises:
        ValueError: naming what a target looks like.
    """
    try:
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        raise ValueError("not an address such as https://example.org/hook or slack://...") from None
    if "://" not in target or not parts.scheme or any(character <= " " or character == "\x7f" for character in target):
        raise ValueError("not an address such as https://example.org/hook or slack://...")
    if is_webhook(target) and (not parts.hostname or parts.username is not None or not target.isascii()):
        raise ValueError("a webhook is http(s)://HOST/PATH in ASCII, without a user or password")


def masked(target: str) -> str:
    """A target without what may be secret in it: the scheme, and of a webhook the host."""
    try:
        parts = urlsplit(target)
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    except ValueError:
        return "***"
    return f"{parts.scheme}://{host}/***" if is_webhook(target) else f"{parts.scheme}://***"


def is_public(text: str) -> bool:
    """Whether an IP address is one of the open internet, however it is wrapped."""
    address: Address | None = ipaddress.ip_address(text.split("%", 1)[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        elif address.teredo is not None:
            return False
        else:
            address = address.ipv4_mapped or address.sixtofour or address
    return address is not None and address.is_global and not address.is_multicast


def foreseen_refusal(target: str, *, allow_private: bool) -> str | None:
    """Why a webhook to this target will not be delivered, as far as its spelling shows: said when a rule is made, since the
    history tells it only after the first alert went nowhere. Asks no name server; `resolve` decides at each delivery.
    """
    if allow_private or not is_webhook(target):
        return None
    host = urlsplit(target).hostname or ""
    try:
        public = host != "localhost" and is_public(host)
    except ValueError:
        return None  # a name: what it leads to is known when it is used
    return None if public else _not_public(host)


def _not_public(where: str) -> str:
    return f"{where}, which is not a public address; {ALLOW_PRIVATE}=1 on the server allows it"


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host that may be connected to: all of them public, unless private ones are allowed. Blocks on DNS.

    Raises:
        TargetRefusedError: one of them is not public. One is enough: which of them answers is for others to choose.
        OSError: the name does not resolve.
    """
    found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not allow_private:
        for address in found:
            if not is_public(address):
                raise TargetRefusedError(f"{host} is at {_not_public(address)}")
    return found
