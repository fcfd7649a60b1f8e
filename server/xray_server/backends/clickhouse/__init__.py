"""The ClickHouse store, for installations that one machine cannot index; `store.py` is its front door."""
