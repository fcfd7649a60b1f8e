"""A wake-up that may be given from anywhere, and process_mark.py: whether this is still the process that made the mark.

Tests delivery/process_mark.py.
"""

from __future__ import annotations

import os
import threading

from xray_core.delivery.process_mark import _ByPid, mark_process
from xray_core.delivery.wake import Wake


def test_a_wake_up_given_before_the_wait_is_not_missed_and_wakes_once() -> None:
    wake = Wake()
    wake.set()
    wake.set()
    assert wake.wait(0)
    assert not wake.wait(0)


def test_a_waiting_thread_wakes() -> None:
    wake, woken = Wake(), []
    thread = threading.Thread(target=lambda: woken.append(wake.wait(30)))
    thread.start()
    wake.set()
    thread.join(30)
    assert woken == [True]


def test_a_mark_is_true_here_and_false_in_a_child() -> None:
    for mark in (mark_process(), _ByPid()):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(write, b"1" if mark[0] else b"0")
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(read, 1) == b"0"
        assert mark[0]
        os.close(read)
        os.close(write)
