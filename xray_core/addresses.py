"""Addresses of servers and databases as they may be shown and kept, without what may be a secret; and how ids stand in them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

# Stands for the dots of the ids "." and "..", which browsers and clients would take for directories, escaped or not.
# Private use: no id of anybody's.
DOT: Final = "\uf02e"
_HOST: Final = re.compile(r"[^/?#]*")
_PLAIN_HOST: Final = re.compile(r"(?:\[[^\]]*\]|[^:@\[\]]*)(?::\d*)?\Z")


def without_password(address: str) -> str:
    """The address without the user and password before its host, and without its parameters, which may hold one too.

    A password with an unescaped `/`, `?` or `#` is cut as well: what stands before the first of them is no host then.
    A file's path may hold an `@`. Text that is no address with `://` is returned as "", for any of it may be a password.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        return ""
    host = _HOST.match(rest)
    assert host is not None  # it matches the empty text
    if "@" in host.group():
        rest = host.group().rpartition("@")[2] + rest[host.end() :]
    elif not _PLAIN_HOST.match(host.group()):
        rest = rest.rpartition("@")[2]
    return re.split(r"[?#]", f"{scheme.lower()}://{rest}", maxsplit=1)[0]


def path_segment(value: object) -> str:
    """An id as it stands in the path of an address of the server, escaped."""
    text = str(value)
    return quote(text.replace(".", DOT) if text in (".", "..") else text, safe="")
