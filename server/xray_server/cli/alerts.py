"""`xray alerts add | list | test | remove | history`: rules of a running server. Asks the HTTP API; knows no store."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any, Final

from xray_core.errors import ApiError, NotFoundError
from xray_core.plurals import plural
from xray_core.query.http_reader import HttpReader

_METRICS: Final = (
    "rejection_rate", "reason_share", "unaccounted", "zero_output", "failed", "duration", "changed_rate", "changed_reasons",
)  # fmt: skip
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def register(subparsers: Any) -> None:
    """Add `alerts` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "alerts",
        help="rules that tell when a step or run goes wrong",
        description="Rules of the server at XRAY_API_URL that tell, once, when a step or run goes wrong (docs/alerts.md).",
        epilog="examples:\n  xray alerts add 'filter drops all' rejection_rate --above 0.95 --step filter --to https://example.org/hook\n"
        "  xray alerts add 'other than usual' changed_reasons --pipeline shop --to slack://...\n"
        "  xray alerts test 'filter drops all' --since 30d --above 0.9\n  xray alerts remove 'filter drops all'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("add", help="add a rule; the secret that signs its webhooks is printed once")
    add.add_argument("name", help="what messages are titled")
    add.add_argument("metric", choices=_METRICS)
    _add_fields(add)
    add.add_argument("--dry-run", action="store_true", help="do not add it: say when it would have fired")
    add.set_defaults(run=_add)
    edit = commands.add_parser("edit", help="change a rule: what is given; all else stays")
    edit.add_argument("rule", metavar="RULE", help="a rule's name or id")
    edit.add_argument("--name", help="what messages are titled")
    edit.add_argument("--metric", choices=_METRICS)
    _add_fields(edit)
    edit.set_defaults(run=_edit)
    for name, run, what in (
        ("send", _send, "send a test message to each target of a rule"),
        ("unmute", _mute, "send the messages of a rule again"),
        ("mute", _mute, "send no message of a rule; what fires is in the history"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("rule", metavar="RULE", help="a rule's name or id")
        command.set_defaults(run=run, for_s=0.0)
        if name == "mute":
            command.add_argument(
                "--for", type=_seconds, dest="for_s", default=None, metavar="TIME", help="as in 8h; else until unmuted"
            )
        command.add_argument("--json", action="store_true", help="the server's answer as it is")
    listing = commands.add_parser("list", help="the rules, and what is firing")
    listing.set_defaults(run=_list)
    test = commands.add_parser("test", help="when a rule would have fired; sends nothing")
    test.add_argument("rule", metavar="RULE", help="a rule's name or id")
    for name in ("above", "below"):
        test.add_argument(f"--{name}", type=float, metavar="X", help="what if the bound were this")
    test.set_defaults(run=_test)
    remove = commands.add_parser("remove", help="remove a rule")
    remove.add_argument("rule", metavar="RULE", help="a rule's name or id")
    remove.set_defaults(run=_remove)
    history = commands.add_parser("history", help="what fired and resolved, newest first")
    history.add_argument("--limit", type=int, default=20)
    history.set_defaults(run=_history)
    for each in (add, test):
        each.add_argument("--since", default="7d", help="of history: a time, or how long ago (default: %(default)s)")
    for each in (add, edit, listing, test, remove, history):
        each.add_argument("--json", action="store_true", help="the server's answer as it is")


def _add_fields(add: Any) -> None:
    """What a rule may say beside its name and its metric."""
    for name, what in (
        ("pipeline", "its name"),
        ("step", "its name"),
        ("step-type", ""),
        ("reason", "of reason_share"),
    ):
        add.add_argument(f"--{name}", help=what or None)
    for name, what in (("above", "a share from 0 to 1, items, or milliseconds"), ("below", "the same")):
        add.add_argument(f"--{name}", type=float, metavar="X", help=what)
    add.add_argument("--min-items", type=int, metavar="N", help="with fewer items in, nothing is said")
    add.add_argument("--window", type=int, metavar="N", help="changed_*: compare with so many runs (20)")
    add.add_argument(
        "--pool", type=int, metavar="N", help="changed_rate: so many newest runs together, for small runs (1)"
    )
    add.add_argument(
        "--dimension", metavar="FIELD=VALUE", help="of the items with this value of a dimension: carrier=DHL"
    )
    add.add_argument("--min-runs", type=int, metavar="N", help="changed_*: with fewer runs, nothing is said (5)")
    add.add_argument("--min-change", type=float, metavar="X", help="changed_*: smaller changes send no message (0.1)")
    add.add_argument(
        "--cooldown", type=_seconds, dest="cooldown_s", metavar="TIME", help="as in 90s, 15m (default), 2h"
    )
    add.add_argument(
        "--to", action="append", metavar="URL", help="a webhook, or an address of Apprise; may be repeated"
    )


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([smhd]?)", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError("a time is as in 90s, 15m, 2h or 1d")
    return int(found[1]) * _SECONDS[found[2] or "s"]


def _reader() -> HttpReader:
    from xray_core import settings

    return HttpReader(settings.load())


_FIELDS: Final = (
    "name", "metric", "pipeline", "step", "step_type", "reason", "above", "below", "min_items", "window", "pool", "dimension", "min_runs",
    "min_change", "cooldown_s", "to",
)  # fmt: skip


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in _FIELDS if getattr(arguments, name) is not None}


def _edit(arguments: argparse.Namespace) -> int:
    reader = _reader()
    rule = _find(reader, arguments.rule)
    body = {name: rule[name] for name in _FIELDS} | _given(arguments)
    answer = reader.send("PUT", "alerts", "rules", rule["rule_id"], body=body)
    if arguments.json:
        return _print_json(answer)
    print(f"changed {_plain(answer['name'])}: {_plain(answer['says'])} ({answer['rule_id']})")
    for warning in answer["warnings"]:
        print(f"warning: {_plain(warning)}", file=sys.stderr)
    return 0


def _mute(arguments: argparse.Namespace) -> int:
    reader = _reader()
    rule = _find(reader, arguments.rule)
    answer = reader.send("POST", "alerts", "rules", rule["rule_id"], "mute", for_s=arguments.for_s)
    if arguments.json:
        return _print_json(answer)
    until = f"until {answer['muted_until']}" if answer["muted_until"] else "until you unmute it"
    print(f"{_plain(answer['name'])} is muted {until}" if answer["muted"] else f"{_plain(answer['name'])} is not muted")
    return 0


def _send(arguments: argparse.Namespace) -> int:
    reader = _reader()
    rule = _find(reader, arguments.rule)
    answer = reader.send("POST", "alerts", "rules", rule["rule_id"], "send")
    if arguments.json:
        return _print_json(answer)
    for each in answer["deliveries"]:
        print(f"{_plain(each['to'])} {'took it' if each['sent'] else 'did not: ' + _plain(each['note'])}")
    if not answer["deliveries"]:
        print("it tells nobody but the history: `xray alerts edit RULE --to URL` says whom")
    return 0 if all(each["sent"] for each in answer["deliveries"]) else 1


def _add(arguments: argparse.Namespace) -> int:
    body = _given(arguments)
    if arguments.dry_run:
        return _show_test(arguments, _reader().send("POST", "alerts", "test", body=body, since=arguments.since))
    answer = _reader().send("POST", "alerts", "rules", body=body)
    if arguments.json:
        return _print_json(answer)
    print(f"added {_plain(answer['name'])}: {_plain(answer['says'])} ({answer['rule_id']})")
    if not answer["to"]:
        print("it tells nobody but the history: --to says whom")
    for warning in answer["warnings"]:
        print(f"warning: {_plain(warning)}", file=sys.stderr)
    print(f"secret (signs its webhooks, shown this once): {answer['secret']}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    answer = _reader().get("alerts", "rules")
    if arguments.json:
        return _print_json(answer)
    if not answer["rules"]:
        print("no rules (xray alerts add --help)")
    for rule in answer["rules"]:
        print(f"{rule['state']:7} {_plain(rule['name'])}: {_plain(rule['says'])} -> {_plain(', '.join(rule['to']) or 'history only')}  {rule['rule_id']}")  # fmt: skip
        for each in rule["firing"]:
            print(f"        since {each['since']}: {_plain(each['sentence'])} (run {_plain(each['run_id'])})")
    return 0


def _test(arguments: argparse.Namespace) -> int:
    reader = _reader()
    rule = _find(reader, arguments.rule)
    asked = {"since": arguments.since, "above": arguments.above, "below": arguments.below}
    return _show_test(arguments, reader.get("alerts", "rules", rule["rule_id"], "test", **asked))


def _show_test(arguments: argparse.Namespace, answer: dict[str, Any]) -> int:
    if arguments.json:
        return _print_json(answer)
    for event in answer["events"]:
        print(f"{event['at']} {event['kind']:8} run {_plain(event['run_id'])}: {_plain(event['sentence'])}")
    print(
        f"{_plain(answer['says'])}: would have fired {plural(answer['fired'], 'time')} since {arguments.since} ({answer['judged']} finished, "
        f"{plural(answer['breaches'], 'breach', 'breaches')}, {answer['suppressed']} within the cooldown, {answer['unsaid']} with too little to say)"
    )
    if answer["whatif"]:
        _show_what_if(answer["whatif"])
    if not answer["complete"]:
        print("there is more history than was looked at: the newest was")
    return 0


def _show_what_if(found: dict[str, Any]) -> None:
    for each in found["changes"]:
        print(
            f"{each['at']} run {_plain(each['run_id'])}: {each['value']:.6g} was {each['was']}, would be {each['now']}"
        )
    if found["changes_omitted"]:
        print(f"and {found['changes_omitted']} more")
    fired, breaches = found["fired"], found["breaches"]
    print(
        f"{_plain(found['says'])}: would have fired {plural(fired['now'], 'time')}, not {fired['was']} "
        f"({plural(breaches['now'], 'breach', 'breaches')}, not {breaches['was']})"
    )


def _remove(arguments: argparse.Namespace) -> int:
    reader = _reader()
    rule = _find(reader, arguments.rule)
    answer = reader.send("DELETE", "alerts", "rules", rule["rule_id"])
    if arguments.json:
        return _print_json(answer)
    print(f"removed {_plain(rule['name'])}")
    return 0


def _history(arguments: argparse.Namespace) -> int:
    answer = _reader().get("alerts", "history", limit=arguments.limit)
    if arguments.json:
        return _print_json(answer)
    if not answer["events"]:
        print("nothing fired yet")
    for event in answer["events"]:
        sent = ", ".join(map(_delivery, event["deliveries"])) or "not sent"
        print(
            f"{event['at']} {_plain(event['title'])}: {_plain(event['why']['sentence'])} [{sent}] {_plain(event['link'])}"
        )
    return 0


def _delivery(each: dict[str, Any]) -> str:
    note = f" ({_plain(each['note'])})" if each["note"] else ""
    return f"{_plain(each['to'])} {each['status'].replace('_', ' ')}{note}"


def _find(reader: HttpReader, wanted: str) -> dict[str, Any]:
    """The rule of a name or id.

    Raises:
        NotFoundError: there is none.
        ApiError: several have the name.
    """
    rules: list[dict[str, Any]] = reader.get("alerts", "rules")["rules"]
    found = [rule for rule in rules if wanted in (rule["rule_id"], rule["name"])]
    if not found:
        raise NotFoundError(f"there is no rule {wanted!r}; `xray alerts list` shows them", status=404)
    if len(found) > 1:
        raise ApiError(f"{len(found)} rules are named {wanted!r}; take the id of one from `xray alerts list`")
    return found[0]


def _plain(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _print_json(answer: dict[str, Any]) -> int:
    print(json.dumps(answer))
    return 0
