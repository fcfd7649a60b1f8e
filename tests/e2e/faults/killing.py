"""Writers that are killed: a zygote that forks them cheaply, and the books of what they were told is safe."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.faults.conftest import eventually

# Reads "<writers> <forks>" and answers with the pids of that many writers, each with its own process group. A writer
# notes a name in the book only after `put` returned. With forks, it forks itself in the middle of its work.
ZYGOTE = """
import random, signal
import requests  # once here, not in every writer
book = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def write(forks):
    delivery = make()
    dice = random.Random()
    fork_at = dice.randrange(1, 100) if forks else -1
    for n in range(300):
        if n == fork_at:
            os.fork()
        name = f"{os.getpid()}-{n}"
        delivery.put("counts", step(name))
        os.write(book, (name + "\\n").encode())
        time.sleep(0.0005)
    signal.pause()

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for command in sys.stdin:
    writers, forks = map(int, command.split())
    pids = []
    for _ in range(writers):
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            write(forks)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        pids.append(pid)
    print(*pids, flush=True)
"""


class Killer:
    """Starts writers, kills them at a random moment, and knows what they were told is safe."""

    def __init__(self, start: Callable[..., subprocess.Popen[str]], book: Path, *, seed: int) -> None:
        self._book = book
        self._dice = random.Random(seed)
        self._zygote = start(ZYGOTE, str(book))
        self.killed = 0

    def round(self, *, writers: int, forks: bool, after: Callable[[], object] | None = None) -> None:
        """Let writers write for a while, and `after` come true, then SIGKILL them and whatever they forked."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(f"{writers} {int(forks)}\n")
        self._zygote.stdin.flush()
        pids = [int(pid) for pid in self._zygote.stdout.readline().split()]
        if after is not None:
            eventually(after)
        time.sleep(self._dice.uniform(0.0, 0.15))  # the moment of the kill is the experiment, not a synchronisation
        for pid in pids:
            os.killpg(pid, signal.SIGKILL)
            self.killed += 1
        # A busy machine takes a moment to end them: until then they hold their segments, and nobody may adopt those.
        eventually(lambda: not _running(pids))

    def safe(self) -> set[str]:
        """Every name that `put` had returned for."""
        return set(self._book.read_text().split()) if self._book.exists() else set()


def _running(groups: list[int]) -> bool:
    """Whether a process of these groups is still at work; one that nobody has waited for yet is dead all the same."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it went while we looked
        if int(group) in groups and state not in ("Z", "X"):
            return True
    return False
