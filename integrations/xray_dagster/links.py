"""Where Dagster's own pages are: nothing inside a run says it, so the environment and the command line do.

Knows nothing of Dagster's objects.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence
from typing import Final
from urllib.parse import quote

VARIABLE: Final = "XRAY_DAGSTER_URL"
DEFAULT_URL: Final = "http://127.0.0.1:3000"
_COMMANDS: Final = frozenset({"dagster", "dg", "dagster-webserver", "dagit"})


def webserver_url() -> str:
    """The address of Dagster's UI: `XRAY_DAGSTER_URL`, else where `dagster dev` puts it by default."""
    return (os.environ.get(VARIABLE) or DEFAULT_URL).rstrip("/")


def run_url(run_id: str) -> str:
    """The run's page in Dagster's UI."""
    return f"{webserver_url()}/runs/{quote(run_id)}"


def step_url(run_id: str, step_key: str) -> str:
    """The run's page with the log of this step alone."""
    return f"{run_url(run_id)}?logs={quote('step:' + step_key)}"


def export_webserver_url(argv: Sequence[str] | None = None, environ: MutableMapping[str, str] | None = None) -> None:
    """In `dagster dev -p 3333`, put the address into the environment: the runs are grandchildren of this process.

    Does nothing in any other process, and never overrides what the user set.
    """
    argv = list(sys.argv if argv is None else argv)
    environ = os.environ if environ is None else environ
    if not argv or environ.get(VARIABLE):
        return
    path = argv[0].removesuffix(".exe").removesuffix("/__main__.py")
    command = os.path.basename(path).replace("_", "-")
    serves = command in ("dagster-webserver", "dagit") or (command in _COMMANDS and "dev" in argv[1:])
    host, port = _option(argv, "-h", "--host"), _option(argv, "-p", "--port")
    if serves and (host or port):
        if host in (None, "", "0.0.0.0", "::"):  # noqa: S104  # an address to listen on is none to go to
            host = "127.0.0.1"
        environ[VARIABLE] = f"http://{host}:{port or 3000}"


def _option(argv: Sequence[str], short: str, long: str) -> str | None:
    for at, word in enumerate(argv[1:], 1):
        if word in (short, long) and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(f"{long}="):
            return word.partition("=")[2]
    return None
