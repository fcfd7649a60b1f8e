"""Keys for tests: one of every scope and project, in a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from xray_server.access.keys import SCOPES, new_key
from xray_server.store import Store
from xray_server.store.keys import KeyStore

PROJECTS = ("shop", "rival")


@dataclass(frozen=True)
class Keys:
    """The texts of keys, by scope and project. `revoked` was a reader of the first project."""

    texts: dict[tuple[str, str], str]
    revoked: str

    def headers(self, scope: str, project: str = PROJECTS[0]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.texts[scope, project]}"}


def create_keys(store: Store) -> Keys:
    keys = cast(KeyStore, store)
    texts = {}
    for project in PROJECTS:
        for scope in SCOPES:
            key, texts[scope, project] = new_key(f"{scope}-{project}", scope=scope, project=project, now_us=1)
            assert keys.add_key(key)
    key, revoked = new_key("gone", scope="read", project=PROJECTS[0], now_us=1)
    assert keys.add_key(key)
    assert keys.revoke_key("gone", 2)
    return Keys(texts, revoked)
