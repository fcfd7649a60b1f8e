"""`xray serve`, and the server's other commands: its arguments. Imports the server only when it is to run, so that other commands start fast."""

from __future__ import annotations

import argparse
import math
import os
import sys
from typing import Any

from xray_core.errors import ConfigurationError, XRayError
from xray_server.backends import DEFAULT_DATABASE
from xray_server.cli import alerts, keys, upkeep


def register(subparsers: Any) -> None:
    """Add the server's commands to an argparse subparsers object; each sets `run`, called with the parsed arguments."""
    parser = subparsers.add_parser(
        "serve",
        help="start the X-Ray server",
        description="Start the X-Ray server: the API, and the pages at /ui.",
        epilog="examples:\n  xray serve\n  xray serve --port 0 --db sqlite:////var/lib/xray/xray.db",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="port; 0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--db",
        metavar="URL",
        default=None,
        help=f"where data is kept (default: $XRAY_DATABASE_URL, else {DEFAULT_DATABASE} in the working directory)",
    )
    parser.add_argument("--insecure", action="store_true", help="allow an address that others can reach, without keys")
    parser.add_argument("--retain", action="append", default=[], metavar="AGES", help=upkeep.RETAIN_HELP)
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes on this address, as many as cores at most (default: 1)",
    )
    parser.add_argument(
        "--log-level",
        default="warning",
        choices=["debug", "info", "warning", "error"],
        help="info writes a line for every request (default: %(default)s)",
    )
    parser.add_argument("--log-format", default="text", choices=["text", "json"], help="of the log, on stderr")
    parser.add_argument(
        "--rate-per-key",
        metavar="N",
        type=_rate,
        default=200.0,
        help="requests a second that one key may make, on average; 0: no limit (default: %(default)g)",
    )
    parser.add_argument(
        "--trace-url",
        metavar="URL",
        default=os.environ.get("XRAY_TRACE_URL"),
        help="where a trace is in your tracing tool, with {trace_id} in it: runs that came by OTLP link there (default: $XRAY_TRACE_URL)",
    )
    parser.add_argument(
        "--root-path",
        metavar="PATH",
        default="",
        help="the path under which a proxy serves this, such as /xray (default: what X-Forwarded-Prefix says)",
    )
    _add_trust(parser)
    parser.set_defaults(run=_serve)
    keys.register(subparsers)
    upkeep.register(subparsers)
    alerts.register(subparsers)


def _add_trust(parser: argparse.ArgumentParser) -> None:
    """The options of sign-in by an authenticating proxy's header."""
    group = parser.add_argument_group("sign-in by an authenticating proxy (docs/operations.md)")
    for name, metavar, default, what in (
        (
            "header",
            "NAME",
            "",
            "the header in which the proxy names the user, such as X-Forwarded-User (default: none)",
        ),
        (
            "proxies",
            "ADDRESSES",
            "",
            "addresses or networks that the proxy connects from; it is believed from nowhere else",
        ),
        ("scope", "SCOPE", "read", "what users may do: read or admin (default: read)"),
        ("admins", "USERS", "", "users of scope admin, with commas between"),
    ):
        variable = f"XRAY_TRUSTED_{name.upper()}"
        group.add_argument(
            f"--trusted-{name}",
            metavar=metavar,
            default=os.environ.get(variable) or default,
            help=f"{what}; ${variable}",
        )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("a number of processes, from 1 to 64")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise argparse.ArgumentTypeError("a number of requests a second, 0 or more")
    return rate


def _serve(arguments: argparse.Namespace) -> int:
    try:
        from xray_server.access.trusted import trusted_header
        from xray_server.process.serve import serve
        from xray_server.upkeep.retention import parse_policy
    except ImportError as error:
        print(f"xray: the server needs its extra: pip install 'xray-pipelines[server]' ({error})", file=sys.stderr)
        return 2
    try:
        return serve(
            host=arguments.host,
            port=arguments.port,
            database_url=arguments.db or os.environ.get("XRAY_DATABASE_URL") or DEFAULT_DATABASE,
            insecure=arguments.insecure,
            log_level=arguments.log_level,
            retain=parse_policy(upkeep.retain_arguments(arguments.retain)),
            workers=arguments.workers,
            log_format=arguments.log_format,
            rate_per_key_s=arguments.rate_per_key,
            trace_url=arguments.trace_url,
            root_path=arguments.root_path,
            trusted=trusted_header(
                arguments.trusted_header,
                arguments.trusted_proxies,
                scope=arguments.trusted_scope,
                admins=arguments.trusted_admins,
            ),
        )
    except ConfigurationError as error:
        print(f"xray: {error}", file=sys.stderr)
        return 2


def main(argv: list[str] | None = None) -> int:
    """`python -m xray_server serve ...`."""
    parser = argparse.ArgumentParser(prog="python -m xray_server")
    register(parser.add_subparsers(required=True, metavar="COMMAND"))
    arguments = parser.parse_args(argv)
    try:
        result: int = arguments.run(arguments)
    except XRayError as error:
        print(f"xray: {error}", file=sys.stderr)
        return 2
    return result
