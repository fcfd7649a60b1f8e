"""`xray export`, `import`, `backup`, `prune` and `check-store`: upkeep of a store, without a server or beside a running one."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from xray_core.errors import ConfigurationError
from xray_core.plurals import plural

OnProgress = Callable[[int, int], None]


def register(subparsers: Any) -> None:
    """Add these commands to an argparse subparsers object."""
    export = _command(subparsers, "export", _export, "write all that a store keeps to a file, or - for standard output")
    export.add_argument(
        "file", help="NDJSON of wire records; gzip'd where it ends in .gz; gone on with when it was stopped"
    )
    load = _command(subparsers, "import", _import, "write an export into a store; gone on with when it was stopped")
    load.add_argument("file", help="what `xray export` wrote, or - for standard input")
    backup = _command(subparsers, "backup", _backup, "copy a SQLite database while it is in use, and check the copy")
    backup.add_argument("file", help="the copy: a SQLite database")
    prune = _command(subparsers, "prune", _prune, "remove what is older than it may become, in small steps")
    prune.add_argument("--retain", action="append", default=[], metavar="AGES", help=RETAIN_HELP)
    delete = _command(
        subparsers,
        "delete",
        _delete,
        "delete a run, or an item from all runs, for good: what still arrives is not kept",
    )
    what = delete.add_mutually_exclusive_group(required=True)
    what.add_argument("run_id", metavar="RUN", nargs="?", help="id of the run")
    what.add_argument("--item", metavar="ITEM", help="id of an item: its details, samples, ids and fingerprints")
    delete.add_argument("--project", default="default", help="whose run or item it is (default: %(default)s)")
    _command(subparsers, "check-store", _check, "read all of a store and say whether it is sound")


RETAIN_HELP = (
    "how long what is kept: 30d, or details=7d,verdicts=30d,ledgers=90d (h, d, w, y); PIPELINE:30d for one pipeline; "
    "may be given several times (default: $XRAY_RETAIN, split at spaces, else for ever)"
)


def _command(subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], about: str) -> Any:
    parser = subparsers.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    parser.add_argument("--db", metavar="URL", default=None, help="the store (default: $XRAY_DATABASE_URL)")
    parser.set_defaults(run=lambda arguments: _guarded(run, arguments))
    return parser


def _guarded(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    try:
        return run(arguments)
    except ImportError as error:
        print(f"xray: this needs an extra: pip install 'xray-pipelines[server]' ({error})", file=sys.stderr)
        return 2


def retain_arguments(given: list[str]) -> list[str]:
    """What `--retain` was given, else what XRAY_RETAIN says."""
    return given or os.environ.get("XRAY_RETAIN", "").split()


def _url(arguments: argparse.Namespace, *, new: bool = False) -> str:
    url: str = arguments.db or os.environ.get("XRAY_DATABASE_URL") or ""
    if not url:
        raise ConfigurationError("which store? say --db sqlite:///xray.db, or set XRAY_DATABASE_URL")
    path = _sqlite_path(url)
    if not new and path is not None and not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    return url


def _sqlite_path(url: str) -> Path | None:
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


@contextmanager
def _progress(words: str, unit: str) -> Iterator[OnProgress]:
    """A progress bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn(words), BarColumn(), TextColumn("{task.fields[shown]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=None, shown="")

        def on_progress(first: int, second: int) -> None:
            if unit == "pages":
                bar.update(task, completed=first, total=second, shown=f"{first:,} of {second:,} pages")
            else:
                bar.update(task, shown=f"{plural(first, 'run')}, {plural(second, 'record')}")

        yield on_progress


def _export(arguments: argparse.Namespace) -> int:
    from xray_server.backends import open_store
    from xray_server.upkeep.export import export_stream, export_to

    with closing(open_store(_url(arguments))) as store, _progress("exporting", "records") as on_progress:
        if arguments.file == "-":
            transfer = export_stream(store, sys.stdout.buffer, on_progress=on_progress)
        else:
            transfer = export_to(store, Path(arguments.file), on_progress=on_progress)
    print(f"{plural(transfer.runs, 'run')}, {plural(transfer.records, 'record')} exported", file=sys.stderr)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from xray_server.backends import open_store
    from xray_server.upkeep.export import import_from

    source = sys.stdin.buffer if arguments.file == "-" else Path(arguments.file)
    if isinstance(source, Path) and not source.is_file():
        raise ConfigurationError(f"there is no file {source}")
    url = _url(arguments, new=True)
    with closing(open_store(url)) as store, _progress("importing", "records") as on_progress:
        transfer = import_from(store, source, target=url, on_progress=on_progress)
    print(f"{plural(transfer.runs, 'run')}, {plural(transfer.records, 'record')} imported", file=sys.stderr)
    if transfer.refused:
        refused = plural(transfer.refused, "record was", "records were")
        print(f"xray: {refused} refused; the first {transfer.first_refusal}", file=sys.stderr)
    if not transfer.whole:
        print(
            "xray: the file is cut off: it has no last line. What it has is imported; export it again", file=sys.stderr
        )
    return 2 if transfer.refused or not transfer.whole else 0


def _backup(arguments: argparse.Namespace) -> int:
    import sqlite3

    from xray_server.backends.sqlite.backup import back_up

    path = _sqlite_path(_url(arguments))
    if path is None:
        raise ConfigurationError(
            "`xray backup` copies SQLite; for PostgreSQL use pg_dump, or `xray export` (docs/operations.md)"
        )
    try:
        with _progress("copying", "pages") as on_progress:
            back_up(path, Path(arguments.file), on_progress=on_progress)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"no backup was made: {error}") from error
    print(f"{arguments.file}: a checked copy of {path}", file=sys.stderr)
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from xray_server.backends import open_store
    from xray_server.upkeep.retention import parse_policy, prune

    policy = parse_policy(retain_arguments(arguments.retain))
    if not policy:
        raise ConfigurationError("nothing says how long to keep what: say --retain 30d, or set XRAY_RETAIN")
    with closing(open_store(_url(arguments))) as store:
        removed = prune(store, policy, now_us=time.time_ns() // 1000)
    print(", ".join(f"{kind}: {plural(rows, 'row')} removed" for kind, rows in removed.items()), file=sys.stderr)
    return 0


def check_store(url: str) -> dict[str, Any]:
    """`xray doctor --server` (entry point `xray.checks`): where a store is, and what is wrong with it. Reads all of it.

    Args:
        url: of the store; "" for $XRAY_DATABASE_URL.
    """
    import sqlite3

    from xray_server.backends import open_store

    known = _url(argparse.Namespace(db=url))
    try:
        with closing(open_store(known)) as store:
            return {"location": store.health().location, "problems": store.check()}
    except sqlite3.DatabaseError as error:
        return {"location": known, "problems": [str(error)]}


def _delete(arguments: argparse.Namespace) -> int:
    from xray_server.backends import open_store
    from xray_server.store.questions import digest_of

    with closing(open_store(_url(arguments))) as store:
        if arguments.item is not None:
            runs = store.delete_item(arguments.project, arguments.item, time.time_ns() // 1000)
            if not runs:
                print(f"xray: no run of project {arguments.project!r} holds {arguments.item!r}", file=sys.stderr)
                return 1
            _audit("item deleted", arguments.project, item_digest=digest_of(arguments.item).hex(), runs=runs)
            print(f"item {arguments.item} is deleted from {runs} run{'s' if runs != 1 else ''}", file=sys.stderr)
            return 0
        if not store.delete_run(arguments.project, arguments.run_id, time.time_ns() // 1000):
            print(f"xray: there is no run {arguments.run_id!r} in project {arguments.project!r}", file=sys.stderr)
            return 1
    _audit("run deleted", arguments.project, run_digest=digest_of(arguments.run_id).hex())
    print(f"run {arguments.run_id} is deleted", file=sys.stderr)
    return 0


def _audit(what: str, project: str, **fields: Any) -> None:
    """A line of the audit log, on stderr: who deleted what, by its digest."""
    from xray_server.cli.keys import operating_user
    from xray_server.http import logs

    logs.print_audit(what, sys.stderr, project=project, by=operating_user(), **fields)


def _check(arguments: argparse.Namespace) -> int:
    found = check_store(arguments.db or "")
    for problem in found["problems"]:
        print(f"{found['location']}: {problem}", file=sys.stderr)
    if not found["problems"]:
        print(f"{found['location']} is sound")
    return 1 if found["problems"] else 0
