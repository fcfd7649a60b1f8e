"""Which store an address names: the one place that names the backends. Imports no database until one is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from xray_core.errors import ConfigurationError

if TYPE_CHECKING:  # the command line asks for the default address at its start
    from xray_core.plugins.host import PluginHost
    from xray_server.store import Store

DEFAULT_DATABASE: Final = "sqlite:///xray.db"

# scheme -> (module, class, the extra that brings its driver)
_BACKENDS: Final = {
    "sqlite": ("xray_server.backends.sqlite.store", "SQLiteStore", "server"),
    "postgresql": ("xray_server.backends.postgres.store", "PostgresStore", "postgres"),
    "postgres": ("xray_server.backends.postgres.store", "PostgresStore", "postgres"),
    "clickhouse": ("xray_server.backends.clickhouse.store", "ClickHouseStore", "clickhouse"),
}


def open_store(url: str, *, plugins: PluginHost | None = None) -> Store:
    """The store that an address names, its schema brought up to date: a plugin's (`xray_make_store`), else one of ours.

    Args:
        url: `sqlite:///FILE`, `postgresql://user@host/database`, `clickhouse://user@host:8123/database`, or an address that a
            plugin knows.
        plugins: asked first; None asks none.

    Raises:
        ConfigurationError: no store knows the address, its driver is not installed, or its database is newer than this
            program.
    """
    if plugins is not None:
        made: Store | None = plugins.first_or_raise("xray_make_store", url=url)
        if made is not None:
            return made
    scheme, mark, _ = url.partition("://")
    if not mark or scheme not in _BACKENDS:
        named = repr(scheme) if mark else "what has no ://"  # which may be a password
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: {named} is not a kind of store X-Ray has; it has sqlite:///FILE ({DEFAULT_DATABASE}), "
            "postgresql://user@host/database and clickhouse://user@host:8123/database"
        )
    module, name, extra = _BACKENDS[scheme]
    try:
        backend = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: {scheme} needs its extra: pip install 'xray-pipelines[{extra}]' ({error})"
        ) from None
    # one that keeps only records has a second store for the rest
    opened: Store = backend.from_url(url, open_store) if scheme == "clickhouse" else backend.from_url(url)
    return opened
