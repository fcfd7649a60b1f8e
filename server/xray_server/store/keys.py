"""Keys as a store keeps them, and what it is asked about them. `xray_server.access.keys` makes and checks keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept. Times are microseconds since the epoch; `digest` is the SHA-256 of the whole text."""

    key_id: str
    name: str
    scope: str
    project: str
    digest: bytes
    created_us: int
    revoked_us: int | None = None

    def __repr__(self) -> str:
        return f"Key({self.key_id}, {self.name!r}, {self.scope}, project={self.project!r})"


@runtime_checkable
class KeyStore(Protocol):
    """What a store does to keep keys. Any thread, also while another process does the same; blocks for one statement."""

    def keys(self) -> list[Key]:
        """All keys, revoked ones too, oldest first. Raises StoreUnavailableError."""

    def add_key(self, key: Key) -> bool:
        """Keep a key. False when a key of that name is in use."""

    def revoke_key(self, name: str, at_us: int) -> bool:
        """End the key of that name. False when none is in use. The row stays: a name in a log can be explained."""
