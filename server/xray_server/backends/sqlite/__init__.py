"""The SQLite store: one file, no server. Knows no other backend."""

from xray_server.backends.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
