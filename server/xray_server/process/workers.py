"""Several server processes on one address: `xray serve --workers N`, for stores that many may write to.

The parent binds the address and forks; the children serve, each with a store of its own. A child that dies is replaced; when
the parent dies, however it does, the pipe that only it holds open ends, and with it the children.
Owns the processes; knows nothing of what they serve.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NoReturn

_SETTLED_S: Final = 5.0  # a child that lived so long did not die of its start
_MAX_EARLY_DEATHS: Final = 5
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


def run_workers(n: int, serve_one: Callable[[int], int]) -> int:
    """Fork `n` processes that run `serve_one`, and keep them so until SIGINT or SIGTERM. No thread may be running yet.

    Each is given a number, from 0; who takes the place of a process that ended has that one's.

    Returns:
        0 after an orderly end; 1 when the children keep dying as they start.
    """
    children: dict[int, tuple[float, int]] = {}  # when each was started, and its number
    ending = False
    parents_end, held_open = os.pipe()

    def end(signal_number: int, frame: object) -> None:
        nonlocal ending
        ending = True
        for pid in children:
            with suppress(ProcessLookupError):  # it is gone, and not yet waited for
                os.kill(pid, signal.SIGTERM)

    def start(number: int) -> None:
        sys.stdout.flush()
        # a child that is told to end before it is itself would take that for its parent's, and serve on
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if pid == 0:
            os.close(held_open)
            _be_child(partial(serve_one, number), parents_end)
        children[pid] = time.monotonic(), number
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        if ending:  # the signal came while we forked
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    early = 0
    for number in range(n):
        start(number)
    while children:
        pid, status = os.wait()
        if pid not in children:
            continue
        began_s, number = children.pop(pid)
        if ending:
            continue
        early = early + 1 if time.monotonic() - began_s < _SETTLED_S else 0
        if early >= _MAX_EARLY_DEATHS:
            print("xray: the server's processes die as they start; see above", file=sys.stderr)
            end(signal.SIGTERM, None)
            continue
        print(f"xray: a server process ended with {status}; starting another", file=sys.stderr)
        start(number)
    return 0 if early < _MAX_EARLY_DEATHS else 1


def _be_child(serve: Callable[[], int], parents_end: int) -> NoReturn:
    """Serve, and end as a process with its result."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    threading.Thread(target=_end_with_parent, args=(parents_end,), daemon=True).start()
    code = 1
    try:
        code = serve()
    except Exception as error:  # noqa: BLE001  # nobody else will say it: the process ends here
        print(f"xray: a server process cannot go on: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with_parent(parents_end: int) -> None:
    os.read(parents_end, 1)  # returns when the other end is closed: by the parent's death
    os.kill(os.getpid(), signal.SIGTERM)
