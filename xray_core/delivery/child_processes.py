"""The children of `multiprocessing`: they end by `os._exit`, and a pool's by SIGTERM as soon as their results are there.

Owns the two places where that is met: a finalizer of multiprocessing's own instead of atexit, and the pickling of a
result, before which what the task said is written down. Knows nothing of delivery but two functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from xray_core import safety


def in_multiprocessing_child(*, write_down: Callable[[], None], close: Callable[[], None]) -> None:
    """Prepare a child process, once; does nothing anywhere else.

    Args:
        write_down: writes what open steps hold; called before each result of a pool's task leaves the process.
        close: delivers what it can, at the end of a process that ends by itself.
    """
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None:
        return
    if getattr(util, "_xray_pid", None) == os.getpid():
        return
    util._xray_pid = os.getpid()  # type: ignore[attr-defined]  # once per process is enough
    util.Finalize(None, close, exitpriority=0)
    with safety.guard("multiprocessing results"):
        _before_results(write_down)


def _before_results(write_down: Callable[[], None]) -> None:
    """`with Pool() as pool` ends by `terminate()`: a task whose result is there must have its verdicts on disk.

    Pools, executors, queues and pipes look their pickler up for each thing that is sent: also those that were started
    before this. Without open steps that changed, writing down costs a microsecond.
    """
    for name in ("multiprocessing.queues", "multiprocessing.connection"):
        module: Any = sys.modules.get(name)
        if module is not None and not getattr(module._ForkingPickler, "_xray", False):
            module._ForkingPickler = _pickler_after(write_down, module._ForkingPickler)


def _pickler_after(write_down: Callable[[], None], pickler: Any) -> Any:
    class Pickler(pickler):  # type: ignore[misc]  # a class of the standard library, read at run time
        _xray = True

        @classmethod
        def dumps(cls, obj: Any, protocol: int | None = None) -> Any:
            write_down()
            return super().dumps(obj, protocol)

    return Pickler
