"""`xray demo`: its arguments. Everything else is loaded when it runs, so that other commands start fast."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

# Named here and not read from `frameworks`, which other commands need not load.
NAMES = ("prefect", "airflow", "dagster")


def register(subparsers: Any) -> None:
    """Add the command to an argparse subparsers object; it sets `run`, called with the parsed arguments."""
    parser = subparsers.add_parser(
        "demo",
        help="run the flights example: a good run, a bad run, and why",
        description="Run a pipeline over the 336,776 flights that left New York in 2013, once well and once badly, and ask "
        "why the traveller was sent to Buffalo. Starts a server of its own; on a terminal it keeps running until Ctrl-C.",
        epilog="examples:\n  xray demo\n  xray demo --prefect      # or --airflow, --dagster: the same functions as tasks\n\n"
        "needs: pip install 'xray-pipelines[demo]', and [demo,prefect] and so on for a framework",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = parser.add_mutually_exclusive_group()
    for name in NAMES:
        chosen.add_argument(
            f"--{name}", dest="framework", action="store_const", const=name, help=f"run it by {name.capitalize()}"
        )
    parser.add_argument(
        "--port",
        type=int,
        default=8000,
        help="of the demo's server; a free one where it is taken (default: %(default)s)",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("xray-demo"),
        metavar="DIR",
        help="where its database and logs are; delete it afterwards (default: ./%(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="stop the server at the end, on a terminal too")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from xray_examples.demo import Demo, missing

    lacking = missing(arguments.framework)
    if lacking:
        extras = ",".join(["demo", *filter(None, [arguments.framework])])
        print(f"xray: the demo needs {' and '.join(lacking)}: pip install 'xray-pipelines[{extras}]'", file=sys.stderr)
        return 2
    # asked of the terminal once: the story is printed in between
    stays = not arguments.once and sys.stdin.isatty() and sys.stdout.isatty()
    return Demo(arguments.directory.resolve(), arguments.framework).tell(arguments.port, until_stopped=stays)
