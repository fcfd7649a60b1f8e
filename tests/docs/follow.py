"""Follows a page of the documentation literally, in the Python that runs this file: `python follow.py PAGE [DIRECTORY]`.

Blocks of `python` share one namespace; one whose first line is a comment with a file's name is written to that file, and left to the
block that names it, if there is one. Blocks of `sh` are given to bash, with `pip install` left out and `xray serve` in the background. What a page takes for granted stands before the
block in a comment, `<!-- setup` with Python in it; a block that cannot be run is marked `<!-- not run: why -->`. Where the comment of a
command says what an item's answer is, the answer must say so.

Needs nothing but the package that it follows.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

RUN: Final = ("python", "sh")
_PIECE: Final = re.compile(
    r"<!-- not run: (?P<why>.+?) -->"
    r"|<!-- setup\n(?P<setup>.*?)^-->"
    r"|^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
_FILE: Final = re.compile(r"# (\w+\.py)\n")
_PRELUDE: Final = """
set -euo pipefail
pip() { [ "$1" = install ] || command pip "$@"; }
serve() {
  if [ -e servers ]; then  # the page shows another way to start it
    xargs kill < servers 2>/dev/null || true
    while xargs kill -0 < servers 2>/dev/null; do sleep 0.1; done
    rm servers
  fi
  command xray serve "$@" >> serve.log 2>&1 &
  echo $! >> servers
  for _ in $(seq 300); do
    python -c 'from urllib.request import urlopen; urlopen("http://127.0.0.1:8000/health", timeout=5)' 2>/dev/null && return
    sleep 0.1
  done
  cat serve.log; return 1
}
says() { local out; out=$("${@:2}") || true; echo "$out"; [[ "$(echo $out)" == *"$1"* ]] || { echo "it does not say: $1"; return 1; }; }
"""


class Block(NamedTuple):
    """A fenced block: where it begins, and `why` it is not run, if it is not; a setup has the language "setup"."""

    line: int
    language: str
    text: str
    why: str | None = None


def blocks(page: str) -> Iterator[Block]:
    """The blocks and setups of a page in their order."""
    why = None
    for found in _PIECE.finditer(page):
        line = page.count("\n", 0, found.start()) + 1
        if found["why"]:
            why = found["why"]
            continue
        if found["setup"] is not None:
            yield Block(line, "setup", found["setup"])
            continue
        text = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        yield Block(line, found["language"], text, why)
        why = None


def as_script(text: str) -> str:
    """Commands as bash is to run them."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"^xray serve\b(.*?)(?: +&)?(?: +#.*)?$", r"serve \1", line)
        line = re.sub(r"^curl ", "curl --fail-with-body --silent --show-error ", line)
        told = re.match(r"^(xray why \S+)\s+# (\S+ (?:was|never|is) .*?)(?: \.\.\.)?$", line)
        lines.append(f"says {shlex.quote(told[2])} {told[1]}" if told else line)
    return "\n".join(lines)


def follow(page: Path, directory: Path) -> dict[str, Any]:
    """Run every block; {"run": n, "not_run": {why: n}}.

    Raises:
        SystemExit: a block failed, with what it said.
    """
    os.chdir(directory)
    sys.path[:0] = [str(directory), str(Path(__file__).parent)]
    os.environ["PYTHONPATH"] = str(directory)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names: dict[str, Any] = {"__name__": "__main__"}
    ran, not_run = 0, dict[str, int]()
    try:
        found = list(blocks(page.read_text()))
        for each in found:
            if named := _FILE.match(each.text):
                Path(named[1]).write_text(each.text)
        for block in found:
            if block.why is not None:
                not_run[block.why] = not_run.get(block.why, 0) + 1
            elif block.language in ("setup", "python"):
                ran += block.language == "python"
                named = _FILE.match(block.text)
                if named is None or not any(named[1] in each.text for each in found if each is not block):
                    _python(block, page, names)
            elif block.language == "sh":
                ran += 1
                _shell(block, page)
    finally:
        _stop_servers()
    return {"run": ran, "not_run": not_run}


def _python(block: Block, page: Path, names: dict[str, Any]) -> None:
    code = "\n" * block.line + block.text  # so that tracebacks name lines of the page
    exec(compile(code, str(page), "exec"), names)


def _shell(block: Block, page: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", _PRELUDE + as_script(block.text)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{page.name}, line {block.line}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def _stop_servers() -> None:
    if Path("servers").exists():
        for pid in map(int, Path("servers").read_text().split()):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass


if __name__ == "__main__":
    print(json.dumps(follow(Path(sys.argv[1]).resolve(), Path(sys.argv[2] if sys.argv[2:] else "."))))
