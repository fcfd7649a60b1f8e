"""Delivering what waits on this machine: `xray sync`, and the line that other commands say of it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from rich.markup import escape

from xray_core.cli import render
from xray_core.errors import ApiError, ConfigurationError
from xray_core.plurals import plural

if TYPE_CHECKING:
    from xray_core.settings import Settings
    from xray_core.spool import Waiting


def sync(arguments: argparse.Namespace) -> int:
    """Deliver what any process left for the server; with --from, what waits for another address."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from xray_core.xray import XRay

    if arguments.watch:
        return _watch(arguments)
    if arguments.old is not None:
        return _move(arguments)
    if arguments.to is not None:
        raise ConfigurationError("--to goes with --from: `xray sync --from OLD --to NEW`")
    client = XRay("xray sync", api_url=arguments.api_url)
    out = render.console()
    with Progress(
        TextColumn("delivering"),
        BarColumn(),
        MofNCompleteColumn(),
        console=out,
        disable=arguments.json or not out.is_terminal,
    ) as bar:
        task = bar.add_task("delivering", total=None)
        result = client.sync_offline(lambda done, total: bar.update(task, completed=done, total=max(1, total)))
    client.close(0)
    elsewhere = _elsewhere(client.settings)
    if arguments.json:
        others = {each.name: each.n for each in elsewhere}
        print(json.dumps({**result, "elsewhere": others} if others else result))
    elif result["failed"]:
        raise ApiError(_left(result, client.settings.api_url))
    else:
        out.print(
            f"{plural(result['synced'], 'record')} delivered, nothing is left behind for {escape(client.settings.api_url)}"
        )
        for each in elsewhere:
            print(f"xray: {other_address(each)}", file=sys.stderr)
    return 2 if result["failed"] or elsewhere else 0


def _move(arguments: argparse.Namespace) -> int:
    """Deliver what waits for an address that is no server any more, or never was, to another."""
    from xray_core.delivery import Delivery
    from xray_core.settings import load
    from xray_core.spool import spool_report
    from xray_core.transport.http import HttpTransport

    settings = load({"api_url": arguments.to or arguments.api_url})
    old = arguments.old.rstrip("/")
    found = [each for each in spool_report(settings).waiting if old in (each.name.rstrip("/"), each.directory.name)]
    if not found:
        known = ", ".join(each.name for each in spool_report(settings).waiting if each.n) or "no server"
        raise ConfigurationError(f"nothing waits for {old!r} in {settings.spool_dir}; records wait for: {known}")
    if found[0].current:
        raise ConfigurationError(f"{old} is the server of now: `xray sync` delivers to it; name another one with --to")
    if not arguments.yes:
        _agree(
            f"deliver {plural(found[0].n, 'record that waits', 'records that wait')} for {old} to {settings.api_url}?"
        )
    transport = HttpTransport(settings.api_url, api_key=settings.api_key)
    delivery = Delivery(settings, transport, directory=found[0].directory)
    result = delivery.sync()
    delivery.close(0)
    if arguments.json:
        print(json.dumps(result))
    elif result["failed"]:
        raise ApiError(_left(result, settings.api_url))
    else:
        render.console().print(f"{plural(result['synced'], 'record')} delivered to {escape(settings.api_url)}")
    return 2 if result["failed"] else 0


def _agree(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Say so with --yes")
    if input(f"{question[0].upper()}{question[1:]} [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConfigurationError("nothing was delivered")


def _left(result: dict[str, int], api_url: str) -> str:
    return (
        f"{_done(result)}: {api_url} is away or refused {'it' if result['failed'] == 1 else 'them'}; "
        "`xray doctor` says more"
    )


def _done(result: dict[str, int]) -> str:
    """As in "1 record delivered, 2 are left"."""
    return f"{plural(result['synced'], 'record')} delivered, {plural(result['failed'], 'is', 'are')} left"


def _records_wait(n: int) -> str:
    return plural(n, "record waits", "records wait")


def _elsewhere(settings: Settings) -> list[Waiting]:
    from xray_core.spool import left_behind

    return [each for each in left_behind(settings) if not each.current]


def other_address(waiting: Waiting) -> str:
    """What waits for another address than the present one, and the command that delivers it."""
    return f"{_records_wait(waiting.n)} for {waiting.name}; if it has moved: xray sync --from {waiting.name} --to NEW"


def say_what_waits(settings: Settings) -> None:
    """One line for each server for which records wait on this machine: an answer without them may be incomplete."""
    from xray_core.spool import left_behind

    for each in left_behind(settings):
        text = f"{_records_wait(each.n)} on this machine for {each.name}: `xray sync` delivers {'it' if each.n == 1 else 'them'}"
        print(f"xray: {text if each.current else other_address(each)}", file=sys.stderr)


def _watch(arguments: argparse.Namespace) -> int:
    from xray_core.delivery.agent import watch
    from xray_core.settings import load

    settings = load({"api_url": arguments.api_url})
    out = render.console()

    def show_round(found: dict[str, int]) -> None:
        if arguments.json:
            print(json.dumps(found), flush=True)
        else:
            out.print(_done(found))

    if not arguments.json:
        out.print(f"delivering to {escape(settings.api_url)} from {escape(str(settings.spool_dir))}; Ctrl-C stops it")
    try:
        watch(settings, on_round=show_round)
    except KeyboardInterrupt:
        pass  # what is not delivered stays in the spool
    return 0
