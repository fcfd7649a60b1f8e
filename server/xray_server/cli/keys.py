"""`xray keys create | list | revoke`: its arguments, and what it prints. A key's text goes to stdout, all words to stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from xray_core.addresses import without_password
from xray_core.errors import ConfigurationError
from xray_server.backends import DEFAULT_DATABASE

if TYPE_CHECKING:
    from xray_server.store.keys import Key


def register(subparsers: Any) -> None:
    """Add `keys` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "keys",
        help="create, list and revoke keys of a server's database",
        description="Keys of a server: who may send records, and who may read them. Works on the database itself, so it "
        "needs no running server; a running one knows of a change within a second.",
        epilog="examples:\n  xray keys create pipelines --scope ingest\n  xray keys create ana --scope read --project shop\n"
        "  xray keys revoke pipelines",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key; it is printed once and never again")
    create.add_argument("name", help="who or what uses it")
    create.add_argument(
        "--scope",
        required=True,
        choices=["ingest", "read", "metrics", "admin"],
        help="ingest: send records only; read: pages and API; metrics: /metrics only; admin: everything",
    )
    create.add_argument(
        "--project", default="default", help="whose data: nothing crosses projects (default: %(default)s)"
    )
    create.set_defaults(run=_create)
    listing = commands.add_parser("list", help="the keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="for machines")
    listing.set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="end a key, and the sessions signed in with it")
    revoke.add_argument("name")
    revoke.set_defaults(run=_revoke)
    for each in (create, listing, revoke):
        each.add_argument(
            "--db",
            metavar="URL",
            help=f"the server's database (default: $XRAY_DATABASE_URL, else {DEFAULT_DATABASE})",
        )


def _create(arguments: argparse.Namespace) -> int:
    from xray_server.access.keys import new_key

    try:
        key, text = new_key(
            arguments.name, scope=arguments.scope, project=arguments.project, now_us=time.time_ns() // 1000
        )
        with _Opened(arguments) as keys:
            if not keys.store.add_key(key):
                raise ConfigurationError(
                    f"there is a key {key.name!r} already: `xray keys revoke {key.name}`, or take another name"
                )
    except ConfigurationError as error:
        return _wrong(error)
    _audit("key created", key)
    print(text)
    print(
        f"xray: key {key.name!r} ({key.scope}, project {key.project}) is in {keys.url}. This is the only time it is shown. "
        "Clients take it from XRAY_API_KEY.",
        file=sys.stderr,
    )
    return 0


def _list(arguments: argparse.Namespace) -> int:
    try:
        with _Opened(arguments) as keys:
            found = keys.store.keys()
    except ConfigurationError as error:
        return _wrong(error)
    from xray_server.times import iso

    rows = [
        {"name": key.name, "id": key.key_id, "scope": key.scope, "project": key.project,
         "created_at": iso(key.created_us), "revoked_at": iso(key.revoked_us)}
        for key in found
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps({"keys": rows}))
        return 0
    if not rows:
        print(f"xray: no keys in {keys.url}: the server is open, to this machine only", file=sys.stderr)
    for row in rows:
        ended = f"revoked {row['revoked_at']}" if row["revoked_at"] else ""
        print(
            f"{row['name']:24} xray_{row['id']}_…  {row['scope']:8} {row['project']:16} {row['created_at']}  {ended}".rstrip()
        )
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    try:
        with _Opened(arguments) as keys:
            known = keys.store.keys()
            ended = next((k for k in known if k.name == arguments.name and k.revoked_us is None), None)
            if not keys.store.revoke_key(arguments.name, time.time_ns() // 1000):
                raise ConfigurationError(
                    f"no key {arguments.name!r} is in use in {keys.url}; `xray keys list` shows them"
                )
    except ConfigurationError as error:
        return _wrong(error)
    if ended is not None:
        _audit("key revoked", ended)
    print(f"xray: {arguments.name!r} is revoked; a running server refuses it within a second", file=sys.stderr)
    return 0


def operating_user() -> str:
    """Who runs a command, for the audit log: the name of the operating system's user, else its number."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _audit(what: str, key: Key) -> None:
    """A line of the audit log, on stderr as the server writes them: who made or ended which key; never its text."""
    from xray_server.http import logs

    logs.print_audit(
        what, sys.stderr, key=key.name, key_id=key.key_id, scope=key.scope, project=key.project, by=operating_user()
    )


class _Opened:
    """The keys of the database that the arguments name; closed at the end of the block."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._url: str = arguments.db or os.environ.get("XRAY_DATABASE_URL") or DEFAULT_DATABASE

    def __enter__(self) -> _Opened:
        from xray_core.plugins.host import PluginHost
        from xray_server.backends import open_store
        from xray_server.store.keys import KeyStore

        self.url = without_password(self._url)
        disabled = [name.strip() for name in os.environ.get("XRAY_DISABLE_PLUGINS", "").split(",")]
        self._opened = open_store(self._url, plugins=PluginHost(disabled=disabled))
        if not isinstance(self._opened, KeyStore):
            self._opened.close()
            raise ConfigurationError(f"the store of {self.url} keeps no keys")
        self.store = self._opened
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def _wrong(error: Exception) -> int:
    print(f"xray: {error}", file=sys.stderr)
    return 2
