"""Every store keeps keys alike.

Tests backends/relational/keys.py.
"""

from __future__ import annotations

from xray_server.access.keys import Keyring, new_key
from xray_server.store import Store
from xray_server.store.keys import KeyStore


def test_a_key_is_kept_found_and_revoked_and_its_name_is_used_once_at_a_time(store: Store) -> None:
    assert isinstance(store, KeyStore)
    assert store.keys() == []
    key, text = new_key("ana", scope="read", project="shop", now_us=1_760_000_000_000_000)
    again, _ = new_key("ana", scope="admin", now_us=1_760_000_000_000_001)
    assert store.add_key(key)
    assert not store.add_key(again), "the name is in use"
    assert store.keys() == [key]
    ring = Keyring(store, fresh_s=0)
    ring.refresh()
    assert ring.find(text) == key
    assert store.revoke_key("ana", 1_760_000_000_000_002)
    assert not store.revoke_key("ana", 1_760_000_000_000_003)
    assert store.add_key(again), "a revoked key's name is free"
    ring.refresh()
    assert ring.find(text) is None
    assert ring.any
    kept = store.keys()
    assert [(each.key_id, each.revoked_us) for each in kept] == [
        (key.key_id, 1_760_000_000_000_002),
        (again.key_id, None),
    ]
