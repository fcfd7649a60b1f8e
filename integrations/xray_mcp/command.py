"""`xray mcp`: the tools over stdio, for an agent that starts this command. Imports the SDK only when it runs."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from typing import Any


def register(subparsers: Any) -> None:
    """Add the command to an argparse subparsers object; it sets `run`, called with the parsed arguments."""
    parser = subparsers.add_parser(
        "mcp",
        help="answer a coding agent (Model Context Protocol, stdio)",
        description="Answer a coding agent over stdio, by the Model Context Protocol. The server itself answers at /mcp.",
        epilog="example:\n  xray mcp --api-url http://127.0.0.1:8000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--api-url", metavar="URL", help="the server (default: $XRAY_API_URL, else this machine's)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        import anyio.to_thread

        from xray_mcp.tools import make_server
    except ImportError as error:
        print(f"xray: `xray mcp` needs its extra: pip install 'xray-pipelines[mcp]' ({error})", file=sys.stderr)
        return 2
    from xray_core.query.http_reader import HttpReader
    from xray_core.settings import load

    settings = load({} if arguments.api_url is None else {"api_url": arguments.api_url})
    reader = HttpReader(settings)
    one_at_a_time = anyio.CapacityLimiter(1)  # the reader is for one thread

    async def ask(_: Any, path: tuple[str, ...], parameters: dict[str, Any]) -> dict[str, Any]:
        return await anyio.to_thread.run_sync(lambda: reader.get(*path, **parameters), limiter=one_at_a_time)

    make_server(ask, lambda _: settings.api_url, version("xray-pipelines")).run("stdio")
    return 0
