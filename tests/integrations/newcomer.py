"""A newcomer who follows a page of the documentation: an empty home, a shell, and a wheel built from this checkout.

Holds no tests.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.missing import missing

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
_END = "the-end-of-it"


def blocks(page: str, heading: str, kind: str = "sh") -> list[str]:
    """The shell commands of a section of a page in docs/, or its blocks of another kind."""
    section = (ROOT / "docs" / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)


def lines_of(said: str) -> list[str]:
    """What a command printed, line by line, without the spaces that make columns."""
    return [" ".join(line.split()) for line in said.splitlines()]


class Newcomer:
    """A shell that stays open, as the reader's does.

    Args:
        home: an empty folder.
        shell: the process.
        port: where the server that the reader starts is to listen; one that is free here.
    """

    def __init__(self, home: Path, shell: subprocess.Popen[str], port: int) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{port}"
        self._shell = shell
        self._port = port

    def run(self, commands: str) -> str:
        """What the commands print. The last one has to succeed."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{commands}\necho {_END} $?\n")
        self._shell.stdin.flush()
        said = []
        for line in self._shell.stdout:
            if line.startswith(f"{_END} "):
                assert line.split()[1] == "0", "".join(said)[-4_000:]
                return "".join(said)
            said.append(line)
        raise AssertionError("the shell ended: " + "".join(said)[-4_000:])

    def install(self, commands: str) -> str:
        """The commands, in which the package is the wheel just built and the versions are those of the checkout's constraints."""
        if UV is None:
            missing("uv: make .venv/.dev installs it")
        built = [UV, "build", "--wheel", "--quiet", "--out-dir", str(self.home), str(ROOT)]
        subprocess.run(built, check=True, timeout=300)
        (wheel,) = self.home.glob("*.whl")
        here = re.sub(r"'xray-pipelines(\[.*?\])'", rf"'{wheel}\1'", commands)
        assert here != commands, "nothing of the kind `pip install 'xray-pipelines[...]'`"
        return self.run(self.with_pip(here))

    def with_pip(self, commands: str) -> str:
        """The commands, with a pip that does not fetch again what this machine has in its cache."""
        return commands.replace("pip install ", f"{UV} pip install --quiet --constraint {ROOT / 'constraints.txt'} ")

    def serve(self, command: str) -> None:
        """`xray serve &`, on the free port; returns once it answers."""
        assert command.startswith("xray serve &"), command
        self.run(f"xray serve --port {self._port} > serve.txt 2>&1 &")
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, (self.home / "serve.txt").read_text()
            time.sleep(0.2)  # between two looks, up to the deadline

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def newcomer(home: Path) -> Iterator[Newcomer]:
    """One with an empty home; what it started ends with it."""
    home.mkdir()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    index = {  # how this machine reaches the package index, and where it keeps what it has fetched
        name: value for name, value in os.environ.items() if re.match(r"(PIP|UV|SSL|REQUESTS)_|.*_proxy$", name, re.IGNORECASE)
    }  # fmt: skip
    environment = {
        "UV_CACHE_DIR": str(Path.home() / ".cache" / "uv"), **index,
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8",
        "XRAY_API_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc"], cwd=home, env=environment, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Newcomer(home, process, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
