"""The stores: one folder for each database, and `open_store`, which chooses by address. A backend knows no other."""

from xray_server.backends.open import DEFAULT_DATABASE, open_store

__all__ = ["DEFAULT_DATABASE", "open_store"]
