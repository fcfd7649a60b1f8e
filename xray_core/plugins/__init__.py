"""Plugins: the hooks, the host that calls them, and what enables the adapters of installed frameworks."""
