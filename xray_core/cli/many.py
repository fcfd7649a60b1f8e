"""The commands that ask about many items and many runs: items, item, whatif, compare, stability, separates, decisions, trends."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import Any, Final

from xray_core.cli import tables
from xray_core.cli.asking import command, filters, moment, out, reader, resolve, times
from xray_core.errors import ApiError
from xray_core.model import OUTCOMES

_COMPARISONS: Final = {">=": "_gte", "<=": "_lte", ">": "_gt", "<": "_lt", "=": ""}  # longer signs first
_MAX_PAGES: Final = 200  # of a history that is looked through for what fits


def register(subparsers: Any) -> None:
    """Add the commands; each sets `run`, called with the parsed arguments."""
    _register_items(subparsers)
    _register_groups(subparsers)
    _register_stability(subparsers)
    _register_separates(subparsers)
    _register_searches(subparsers)


def _register_items(subparsers: Any) -> None:
    parser = command(
        subparsers, "items", _items, "the items of a run's step, all of them",
        "xray items last --step filter --reason price_too_high --csv > items.csv",
    )  # fmt: skip
    parser.add_argument("run_id", metavar="RUN", help="a run id, its beginning, or 'last'")
    parser.add_argument("--step", help="name or id of the step")
    parser.add_argument("--outcome", choices=[*OUTCOMES, "in", "out"], help="in, out: what went in and came out")
    parser.add_argument("--reason", help="given this reason")
    parser.add_argument("--attempt", type=int, help="of this attempt (default: the last)")
    parser.add_argument("--fingerprints", action="store_true", help="also those known by fingerprint alone")
    parser.add_argument("--pipeline", help="'last' of this pipeline")
    parser.add_argument("--limit", type=int, default=20, help="how many at most (default: %(default)s)")
    parser.add_argument("--cursor", help="go on where the last page ended")
    whole = parser.add_mutually_exclusive_group()
    whole.add_argument("--csv", dest="format", action="store_const", const="csv", help="all of them, as CSV")
    whole.add_argument(
        "--ndjson", dest="format", action="store_const", const="ndjson", help="all, a JSON object a line"
    )

    parser = command(
        subparsers, "item", _item, "one item over time: what became of it in each run",
        "xray item cust42 --rejected --since 30d",
    )  # fmt: skip
    parser.add_argument("item_id", metavar="ITEM", help="the item's id")
    for name in ("pipeline", "step", "reason"):
        parser.add_argument(f"--{name}")
    outcome = parser.add_mutually_exclusive_group()
    outcome.add_argument("--outcome", choices=OUTCOMES)
    outcome.add_argument(
        "--rejected", dest="outcome", action="store_const", const="rejected", help="--outcome rejected"
    )
    times(parser)

    parser = command(
        subparsers, "whatif", _whatif, "who would change at a step if its limit were another",
        "xray whatif last --step gate --limit 120",
    )  # fmt: skip
    parser.add_argument("run_id", metavar="RUN", help="a run id, its beginning, or 'last'")
    parser.add_argument("--step", required=True, help="name or id of the step")
    parser.add_argument("--limit", type=float, help="the new limit; without it: what is near the one it had")
    parser.add_argument("--reason", help="whose limit, where several reasons declare values")
    parser.add_argument("--item", help="what would become of this item")
    parser.add_argument("--pipeline", help="'last' of this pipeline")
    parser.add_argument("--rows", type=int, default=20, help="how many items at most (default: %(default)s)")
    parser.add_argument("--cursor", help="go on where the last page ended")


def _register_groups(subparsers: Any) -> None:
    parser = command(
        subparsers, "compare", _compare, "what differs between two groups of runs, since when, and where",
        "xray compare --pipeline checkout --a since=14d,until=4d --b since=4d --by carrier,country",
    )  # fmt: skip
    parser.add_argument("--pipeline", help="of both groups")
    for name in ("a", "b"):
        parser.add_argument(
            f"--{name}", required=True, metavar="GROUP", help="as in since=14d,until=4d or tag=model:v3"
        )
    parser.add_argument("--by", metavar="FIELD,...", help="fields of details: where the change lies, from samples")
    parser.add_argument("--runs", type=int, help="of each group at most, the newest (default: 5000)")


def _register_stability(subparsers: Any) -> None:
    parser = command(
        subparsers, "stability", _stability, "how often items' verdicts are others in another run, and at which step",
        "xray stability --pipeline rank --same-input",
    )  # fmt: skip
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--step", help="this step alone")
    parser.add_argument("--same-input", action="store_true", help="only runs whose input was the same")
    parser.add_argument("--runs", type=int, default=20, help="at most so many, the newest (default: %(default)s)")


def _register_separates(subparsers: Any) -> None:
    parser = command(
        subparsers, "separates", _separates, "what tells a step's rejected items from those it let through",
        "xray separates --step slots --pipeline checkout --reason no_slot --since 4d",
    )  # fmt: skip
    parser.add_argument("--step", required=True, help="name of the step")
    parser.add_argument("--run", dest="run_id", metavar="RUN", help="of this run alone (id, its beginning, or 'last')")
    parser.add_argument("--pipeline")
    parser.add_argument("--reason", help="those rejected for it alone")
    parser.add_argument("--since", help="ISO 8601, or how long ago: 24h, 7d")
    parser.add_argument("--until", help="as --since")


def _register_searches(subparsers: Any) -> None:
    parser = command(
        subparsers, "decisions", _decisions, "search inside samples, and how many items match in truth",
        "xray decisions --reason price_too_high 'price>100' 'flight.dest=BUR'",
    )  # fmt: skip
    parser.add_argument(
        "details", metavar="DETAIL", nargs="*", help="a condition on details: price>100, dest=BUR, seats>=2"
    )
    for name in ("item", "reason", "step", "step-type", "pipeline"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--outcome", choices=OUTCOMES)
    times(parser)

    parser = command(
        subparsers, "trends", _trends, "what steps did over time: items, rejections by reason, durations",
        "xray trends --pipeline checkout --step slots --by reason --since 14d --bucket day",
    )  # fmt: skip
    parser.add_argument("--pipeline")
    parser.add_argument("--step", help="name of the step")
    parser.add_argument("--bucket", choices=["hour", "day"], default="hour")
    parser.add_argument("--by", choices=["step", "reason"], default="step", help="a line for each (default: step)")
    parser.add_argument(
        "--figure", choices=list(tables.TREND_FIGURES), default="rejected", help="what is drawn (default: rejected)"
    )
    parser.add_argument("--since", help="ISO 8601, or how long ago: 24h, 7d (the default)")
    parser.add_argument("--until", help="as --since")


def _items(arguments: argparse.Namespace) -> int:
    with reader(arguments) as server:
        run_id = resolve(server, arguments.run_id, arguments.pipeline)
        where = {name: getattr(arguments, name) for name in ("step", "outcome", "reason", "attempt")}
        where["fingerprints"] = True if arguments.fingerprints else None
        if arguments.format is not None:
            sys.stdout.write(server.text("runs", run_id, "items", **where, format=arguments.format))
            return 0
        answer = server.get("runs", run_id, "items", **where, limit=arguments.limit, cursor=arguments.cursor)
    return out(arguments, answer, tables.items)


def _whatif(arguments: argparse.Namespace) -> int:
    where = {name: getattr(arguments, name) for name in ("step", "limit", "reason", "item", "rows", "cursor")}
    with reader(arguments) as server:
        answer = server.get("runs", resolve(server, arguments.run_id, arguments.pipeline), "whatif", **where)
    return out(arguments, answer, tables.what_if)


def _compare(arguments: argparse.Namespace) -> int:
    where = {name: getattr(arguments, name) for name in ("pipeline", "a", "b", "by", "runs")}
    with reader(arguments) as server:
        answer = server.get("groups", "diff", **where)
    return out(arguments, answer, tables.groups)


def _stability(arguments: argparse.Namespace) -> int:
    where = {name: getattr(arguments, name) for name in ("pipeline", "step", "runs")}
    with reader(arguments) as server:
        answer = server.get("stability", **where, same_input=arguments.same_input or None)
    return out(arguments, answer, tables.stability)


def _separates(arguments: argparse.Namespace) -> int:
    where = {name: getattr(arguments, name) for name in ("step", "pipeline", "reason")}
    with reader(arguments) as server:
        run = resolve(server, arguments.run_id, arguments.pipeline) if arguments.run_id else None
        answer = server.get("separates", **where, run=run, since=moment(arguments.since), until=moment(arguments.until))
    return out(arguments, answer, tables.separates)


def _item(arguments: argparse.Namespace) -> int:
    where = filters(arguments, "pipeline", "step", "reason", "outcome")
    wanted = where.pop("limit")
    with reader(arguments) as server:
        answer = server.get("items", server.item(arguments.item_id), **where, limit=min(wanted, 200))
        for _ in range(_MAX_PAGES):  # what fits may be far back: pages may be short, and empty
            if answer["next_cursor"] is None or len(answer["runs"]) >= wanted:
                break
            left = min(wanted - len(answer["runs"]), 200)
            page = server.get(
                "items", server.item(arguments.item_id), **{**where, "cursor": answer["next_cursor"]}, limit=left
            )
            answer = {**page, "runs": answer["runs"] + page["runs"]}
    code = out(arguments, answer, tables.item)
    return code if answer["runs"] else 1


def _decisions(arguments: argparse.Namespace) -> int:
    where = filters(arguments, "item", "reason", "step", "step_type", "pipeline", "outcome")
    with reader(arguments) as server:
        answer = server.get("decisions", **where, **dict(_condition(each) for each in arguments.details))
    return out(arguments, answer, tables.decisions)


def _condition(text: str) -> tuple[str, str]:
    """`price>100` as a parameter of the API.

    Raises:
        ApiError: no comparison is in it.
    """
    places = [(text.find(sign), -len(sign), sign) for sign in _COMPARISONS if text.find(sign) > 0]
    if not places:
        raise ApiError(f"{text!r} is no condition on details: give one as in price>100 or dest=BUR")
    at, _, sign = min(places)
    return f"details.{text[:at].strip()}{_COMPARISONS[sign]}", text[at + len(sign) :].strip()


def _trends(arguments: argparse.Namespace) -> int:
    if arguments.figure in ("score", "value") and arguments.step is None:
        raise ApiError(f"--figure {arguments.figure} is of one step: say --step NAME")
    with reader(arguments) as server:
        answer = server.get(
            "trends",
            pipeline=arguments.pipeline,
            step=arguments.step,
            since=moment(arguments.since),
            until=moment(arguments.until),
            bucket=arguments.bucket,
            numbers=True if arguments.figure in ("score", "value") else None,
        )
    return out(arguments, answer, functools.partial(tables.trends, by=arguments.by, figure=arguments.figure))
