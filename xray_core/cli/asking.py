"""The commands that ask the server: runs, show, steps, why, diff."""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from xray_core.cli import render, tables
from xray_core.cli.delivering import say_what_waits
from xray_core.cli.markdown import diff_markdown
from xray_core.errors import ApiError, NotFoundError
from xray_core.plurals import plural
from xray_core.query.http_reader import HttpReader
from xray_core.query.waiting import diff_with_waiting, why_with_waiting

if TYPE_CHECKING:
    from xray_core.settings import Settings

DIFFERS: Final = 3  # exit code of `xray diff --exit-code`
LAST: Final = ("last", "latest")


def register(subparsers: Any) -> None:
    """Add the commands; each sets `run`, called with the parsed arguments."""
    _register_lists(subparsers)
    _register_answers(subparsers)


def _register_lists(subparsers: Any) -> None:
    parser = command(
        subparsers,
        "runs",
        _with_what_waits(_runs),
        "list runs, newest first",
        "xray runs --pipeline nightly --since 24h",
    )
    parser.add_argument("--pipeline", help="of this pipeline alone")
    parser.add_argument("--status", choices=["running", "completed", "failed", "skipped"])
    parser.add_argument("--tag", help="with this tag: key or key:value")
    parser.add_argument(
        "-q", "--query", dest="q", help="beginning of a run id or tag value, or part of a pipeline's name"
    )
    times(parser)

    parser = command(subparsers, "show", _with_what_waits(_show), "one run: its funnel, step by step", "xray show last")
    parser.add_argument("run_id", metavar="RUN", help="a run id, its beginning, or 'last'")
    parser.add_argument("--pipeline", help="'last' of this pipeline")
    parser.add_argument("--each", action="store_true", help="every instance of a mapped task by itself, numbered")

    parser = command(
        subparsers, "steps", _steps, "search steps across runs", "xray steps --step-type filter --rejection-rate-gt 0.9"
    )
    for name in ("step-type", "name", "pipeline", "status", "reason"):
        parser.add_argument(f"--{name}")
    for name, what in (
        ("rejection-rate-gt", "from 0 to 1"),
        ("rejection-rate-lt", "from 0 to 1"),
        ("duration-ms-gt", "milliseconds"),
    ):
        parser.add_argument(f"--{name}", type=float, metavar="X", help=what)
    parser.add_argument("--trend", action="store_true", help="rejection rate over time instead, a line per step")
    times(parser)


def _register_answers(subparsers: Any) -> None:
    parser = command(
        subparsers,
        "why",
        _with_what_waits(_why),
        "what became of an item, and why",
        "xray why UA-1545-0101 --run 01993f2a",
    )
    parser.add_argument("item_id", metavar="ITEM", help="the item's id")
    parser.add_argument("--brief", action="store_true", help="the answer in a sentence, without the journey")
    parser.add_argument("--over", metavar="OTHER", help="why the item stands above this one instead")
    parser.add_argument("--run", dest="run_id", metavar="RUN", default="last", help="run id, its beginning, or 'last'")
    parser.add_argument("--pipeline", help="'last' of this pipeline")

    parser = command(
        subparsers,
        "diff",
        _with_what_waits(_diff),
        "where two runs first differ",
        "xray diff 01993f2a --baseline good --exit-code",
    )
    parser.add_argument("run_id", metavar="A", help="a run id, its beginning, or 'last'")
    parser.add_argument("other", metavar="B", nargs="?", help="the run to compare with")
    parser.add_argument("others", metavar="C", nargs="*", help="further runs: all side by side, the odd one out marked")
    parser.add_argument(
        "--baseline", nargs="?", const="auto", metavar="RUN|good|median:20",
        help="compare with a run that is chosen: the last marked good, else the last that is usual for its pipeline",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=float, metavar="X", help="numbers closer than this are equal (default 1e-9)"
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="PATH,...", help="as in input.request_id,input.at"
    )
    parser.add_argument("--exit-code", action="store_true", help="exit with 3 where the runs differ by themselves")
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for a comment on a pull request")
    parser.add_argument("--brief", action="store_true", help="where they first differ, and nothing else")
    parser.add_argument("--pipeline", help="'last' of this pipeline")

    parser = command(subparsers, "mark", _mark, "mark a run good or bad", 'xray mark last good --note "as ordered"')
    parser.add_argument("run_id", metavar="RUN", help="a run id, its beginning, or 'last'")
    parser.add_argument("mark", choices=["good", "bad", "none"], help="none takes the mark away")
    parser.add_argument("--note", help="why")
    parser.add_argument("--pipeline", help="'last' of this pipeline")


def command(subparsers: Any, name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
    """A command that asks the server: its name, what runs it, what it is for, an example."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the server's answer as JSON")
    parser.add_argument("--api-url", metavar="URL", help="the server (default: $XRAY_API_URL, else this machine's)")
    parser.set_defaults(run=run)
    return parser


def times(parser: argparse.ArgumentParser) -> None:
    """The arguments of a list: its window of time and its page."""
    parser.add_argument("--since", help="ISO 8601, or how long ago: 30m, 24h, 7d")
    parser.add_argument("--until", help="as --since")
    parser.add_argument("--limit", type=int, default=20, help="how many at most (default: %(default)s)")
    parser.add_argument("--cursor", help="go on where the last page ended")


def reader(arguments: argparse.Namespace) -> HttpReader:
    """A reader of the server that the arguments and the environment name."""
    return HttpReader(settings_of(arguments))


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings of the environment, with the server that the arguments name."""
    from xray_core.settings import load

    return load({"api_url": arguments.api_url})


def _with_what_waits(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The command, and a line about what waits on this machine: what it did not find may be among that."""

    def run(arguments: argparse.Namespace) -> int:
        settings = settings_of(arguments)
        try:
            return command(arguments)
        finally:
            say_what_waits(settings)

    return run


def _runs(arguments: argparse.Namespace) -> int:
    with reader(arguments) as server:
        answer = server.get("runs", **filters(arguments, "pipeline", "status", "tag", "q"))
    return out(arguments, answer, render.runs)


def _show(arguments: argparse.Namespace) -> int:
    with reader(arguments) as server:
        run_id = resolve(server, arguments.run_id, arguments.pipeline)
        answer = server.get("runs", run_id)
        while not arguments.json and answer.get("next_cursor") and len(answer["steps"]) < 1_000:
            page = server.get("runs", run_id, cursor=answer["next_cursor"])
            answer["steps"] += page["steps"]
            answer["next_cursor"] = page.get("next_cursor")
    return out(arguments, answer, functools.partial(render.run, each=arguments.each))


def _steps(arguments: argparse.Namespace) -> int:
    if arguments.trend:
        return _trend(arguments)
    where = filters(
        arguments, "step_type", "name", "pipeline", "status", "reason", "rejection_rate_gt", "rejection_rate_lt",
        "duration_ms_gt",
    )  # fmt: skip
    with reader(arguments) as server:
        answer = server.get("steps", **where)
    return out(arguments, answer, render.steps)


def _trend(arguments: argparse.Namespace) -> int:
    unused = [name for name in ("step_type", "status", "reason", "rejection_rate_gt", "duration_ms_gt", "cursor")
              if getattr(arguments, name) is not None]  # fmt: skip
    if unused:
        raise ApiError(
            f"--trend goes with --pipeline, --name, --since and --until, not with --{unused[0].replace('_', '-')}"
        )
    with reader(arguments) as server:
        answer = server.get(
            "trends",
            pipeline=arguments.pipeline,
            step=arguments.name,
            since=moment(arguments.since),
            until=moment(arguments.until),
        )
    return out(arguments, answer, render.trend)


def _why(arguments: argparse.Namespace) -> int:
    if arguments.over is not None:
        return _over(arguments)
    with reader(arguments) as server:
        run_id = resolve(server, arguments.run_id, arguments.pipeline)
        answer = server.get("runs", run_id, "items", server.item(arguments.item_id))
    answer = why_with_waiting(answer, settings_of(arguments), newest=arguments.run_id in LAST)
    code = out(arguments, answer, render.answer if arguments.brief else render.why)
    return 1 if answer.get("outcome") == "never_entered" else code


def _over(arguments: argparse.Namespace) -> int:
    with reader(arguments) as server:
        run_id = resolve(server, arguments.run_id, arguments.pipeline)
        answer = server.get("runs", run_id, "above", a=arguments.item_id, b=arguments.over)
    code = out(arguments, answer, render.answer if arguments.brief else tables.above)
    return 1 if answer["above"] is None else code


def _diff(arguments: argparse.Namespace) -> int:
    if arguments.others:
        return _side_by_side(arguments)
    if bool(arguments.other) == bool(arguments.baseline):
        raise ApiError("give a second run, or --baseline for a run that is chosen")
    chosen = {"tolerance": arguments.tolerance, "ignore": ",".join(arguments.ignore) or None}
    with reader(arguments) as server:
        run_id = resolve(server, arguments.run_id, arguments.pipeline)
        if arguments.baseline:
            asked = arguments.baseline
            if asked != "auto" and asked != "good" and not asked.startswith("median"):
                asked = resolve(server, asked, arguments.pipeline)
            answer = server.get(
                "runs", run_id, "diff", "baseline", baseline=None if asked == "auto" else asked, **chosen
            )
        else:
            answer = server.get("runs", run_id, "diff", resolve(server, arguments.other, arguments.pipeline), **chosen)
    answer = diff_with_waiting(answer, settings_of(arguments))
    if arguments.markdown:
        print(diff_markdown(answer))
        code = 0
    else:
        code = out(arguments, answer, render.parting if arguments.brief else render.diff)
    return DIFFERS if arguments.exit_code and _differs(answer) else code


def _side_by_side(arguments: argparse.Namespace) -> int:
    if arguments.baseline or arguments.markdown or arguments.tolerance is not None or arguments.ignore:
        raise ApiError("three and more runs are compared without --baseline, --markdown, --tolerance and --ignore")
    with reader(arguments) as server:
        every = [arguments.run_id, arguments.other, *arguments.others]
        ids = [resolve(server, each, arguments.pipeline) for each in every]
        answer = server.get("diff", runs=",".join(ids))
    code = out(arguments, answer, tables.side_by_side)
    return DIFFERS if arguments.exit_code and answer["first"] is not None else code


def _differs(answer: dict[str, Any]) -> bool:
    """Whether the runs differ by themselves: not only in what they were given."""
    parted = answer.get("parted_at")
    if parted is not None:
        return not parted.get("from_run")
    return answer.get("outputs_equal") is False and answer.get("inputs_equal") is not False


def _mark(arguments: argparse.Namespace) -> int:
    with reader(arguments) as server:
        run_id = resolve(server, arguments.run_id, arguments.pipeline)
        answer = server.send("POST", "runs", run_id, "mark", body={"mark": arguments.mark, "note": arguments.note})
    return out(arguments, answer, render.marked)


def resolve(server: HttpReader, run_id: str, pipeline: str | None = None) -> str:
    """The run id that a user meant: a whole id, the beginning of one, or 'last'.

    Raises:
        NotFoundError: there is none.
        ApiError: the beginning fits several.
    """
    if run_id in LAST:
        runs = server.get("runs", limit=1, pipeline=pipeline)["runs"]
        if not runs:
            of = f" of pipeline {pipeline!r}" if pipeline else ""
            raise NotFoundError(f"there is no run{of} yet")
        return str(runs[0]["run_id"])
    if re.fullmatch(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}", run_id):
        return run_id
    found = [run["run_id"] for run in server.get("runs", q=run_id, limit=10)["runs"]]
    fitting = [each for each in found if each.startswith(run_id)]
    if run_id in fitting or not fitting:
        return run_id
    if len(fitting) > 1:
        raise ApiError(
            f"{run_id!r} fits {plural(len(fitting), 'run')}: {', '.join(fitting[:3])}, ...; give more of the id"
        )
    return str(fitting[0])


def filters(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """These arguments as parameters of a list, with its times, limit and cursor."""
    chosen = {name: getattr(arguments, name) for name in names}
    for name in ("since", "until"):
        chosen[name] = moment(getattr(arguments, name))
    return {**chosen, "limit": arguments.limit, "cursor": arguments.cursor}


def moment(text: str | None) -> str | None:
    """An absolute time; "24h" means 24 hours ago."""
    ago = re.fullmatch(r"(\d+)\s*([smhdw])", text or "")
    if ago is None:
        return text
    from datetime import datetime, timedelta, timezone

    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago[2]]
    try:
        return (datetime.now(timezone.utc) - timedelta(**{unit: int(ago[1])})).isoformat()
    except OverflowError:
        raise ApiError(f"{text!r} is longer ago than there is time") from None


def out(arguments: argparse.Namespace, answer: dict[str, Any], show: Any) -> int:
    """Print an answer: as JSON where asked for, else as `show` does; exit code 0."""
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"), indent=2))
    else:
        show(answer)
    return 0
