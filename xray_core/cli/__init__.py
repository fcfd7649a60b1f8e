"""The `xray` command: look at runs, ask why, deliver what was left behind, see what is wrong.

Exit codes: 0 done, 1 not found, 2 usage or connection (with one line that says what to do).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from io import TextIOWrapper

from xray_core.cli import asking, local, many
from xray_core.errors import NotFoundError, XRayError

_EXAMPLES = """examples:
  xray serve                               start the server here
  xray runs --status failed                the newest failed runs
  xray show last                           the funnel of the newest run
  xray why UA-1545-0101                    what became of an item, in the newest run
  xray diff last --baseline                where it first differs from its baseline
  xray steps --step-type filter --rejection-rate-gt 0.9
  xray items last --step filter --reason price_too_high --csv
  xray item UA-1545-0101 --rejected --since 30d
  xray run -- python flow.py               capture Prefect, Airflow or Dagster without changing the code
  xray sync                                deliver what was left behind while the server was down

XRAY_API_URL and XRAY_API_KEY say which server; --json prints the server's answer as it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, TextIOWrapper
        ):  # a terminal of another alphabet shows a question mark, and not our traceback
            stream.reconfigure(errors="replace")
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except NotFoundError as error:
        print(f"xray: {error}", file=sys.stderr)
        return 1
    except XRayError as error:
        print(f"xray: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of our output has seen enough; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def make_parser() -> argparse.ArgumentParser:
    """The whole command line: the core's commands and those of installed extras (`xray.commands`)."""
    parser = argparse.ArgumentParser(
        prog="xray",
        description="X-Ray: why did the pipeline make this decision?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"xray {version('xray-pipelines')}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    asking.register(subparsers)
    many.register(subparsers)
    local.register(subparsers)
    for entry in sorted(entry_points(group="xray.commands"), key=lambda each: each.name):
        try:
            entry.load()(subparsers)
        except Exception as error:  # noqa: BLE001  # a broken extra must not take the other commands with it
            print(f"xray: the commands of {entry.value} cannot be loaded: {error}", file=sys.stderr)
    return parser
