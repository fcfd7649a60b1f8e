"""`mark_process`: whether this is still the process that it was, also after a fork that ran none of Python's hooks."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Final, Protocol

_MADV_WIPEONFORK: Final = 18  # Linux 4.14: a forked child finds the page filled with zeros


class ProcessMark(Protocol):
    """Says at index 0 whether this process is the one that made it."""

    def __getitem__(self, index: int, /) -> int:
        """True while the process is the one that made the mark; `index` is 0."""


class _ByPid:
    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, index: int, /) -> int:
        return os.getpid() == self._pid


def mark_process() -> ProcessMark:
    """A mark of this process: `mark[0]` is true here and false in a child. Asked at every record: a system call,
    as `getpid` is, would cost ten times as much.
    """
    if sys.platform != "linux":
        return _ByPid()
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_MADV_WIPEONFORK)
    except (OSError, ValueError):
        return _ByPid()
    page[0] = 1
    return page
