"""What a `clickhouse://` address says: shards and their replicas, the database, and where keys and alerts are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from xray_core.errors import ConfigurationError

DEFAULT_CONTROL: Final = "sqlite:///xray-control.db"
_EXAMPLE: Final = "write clickhouse://user@host:8123/xray, with ?shards=a:8123,b:8123|c:8123,d:8123 for a cluster"
_KNOWN: Final = ("shards", "control", "replicated", "secure")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the records are.

    Attributes:
        shards: the (host, port) of each shard's replicas.
        replicated: whether the server copies between replicas (Replicated... engines); else X-Ray writes to each.
        control: the address of the SQL store that keeps keys, alert rules and their states.
    """

    shards: tuple[tuple[tuple[str, int], ...], ...]
    database: str
    user: str
    password: str
    secure: bool
    replicated: bool
    control: str

    @property
    def location(self) -> str:
        """What may be shown of it."""
        hosts = "|".join(",".join(f"{host}:{port}" for host, port in shard) for shard in self.shards)
        return f"clickhouse://{hosts}/{self.database}"


def parse_address(url: str) -> Address:
    """An address in its parts.

    Raises:
        ConfigurationError: not such an address; says what to write. Never shows a password.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(given.keys() - set(_KNOWN))
    database = unquote(parts.path.lstrip("/"))
    if unknown or not database or "/" in database or "`" in database:
        why = f"it does not know {', '.join(unknown)}" if unknown else "it names no database"
        raise ConfigurationError(f"XRAY_DATABASE_URL: {why}; {_EXAMPLE}")
    secure = given.get("secure") in ("1", "true")
    default_port = 8443 if secure else 8123
    try:
        own = f"{parts.hostname or ''}:{parts.port or default_port}"
        shards = tuple(
            tuple(_host(each, default_port) for each in shard.split(","))
            for shard in (given.get("shards") or own).split("|")
        )
    except ValueError:
        raise ConfigurationError(f"XRAY_DATABASE_URL: a host or port of it cannot be read; {_EXAMPLE}") from None
    return Address(
        shards,
        database,
        unquote(parts.username or "default"),
        unquote(parts.password or ""),
        secure,
        given.get("replicated") in ("1", "true"),
        given.get("control") or DEFAULT_CONTROL,
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        host, port = text.strip(), str(default_port)
    if not host:
        raise ValueError(text)
    return host.strip("[]"), int(port)
