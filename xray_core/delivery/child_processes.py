"""The children of `multiprocessing`, and of its forks `billiard` (Celery's) and `multiprocess`: they end by `os._exit`, and a
pool's by SIGTERM as soon as their results are there.

Owns the two places where that is met: a finalizer of the library's own instead of atexit, and the pickling of a result, before
which what the task captured is written down. Knows nothing of delivery but two functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Final

from xray_core import safety

_LIBRARIES: Final = ("multiprocessing", "billiard", "multiprocess")
_PICKLERS: Final = ("_ForkingPickler", "ForkingPickler")  # under which name each looks its pickler up


def in_multiprocessing_child(*, write_down: Callable[[], None], close: Callable[[], None]) -> None:
    """Prepare a child process, once; does nothing anywhere else.

    Args:
        write_down: writes what open steps hold; called before each result of a pool's task leaves the process.
        close: delivers what it can, at the end of a process that ends by itself.
    """
    for library in _LIBRARIES:
        process: Any = sys.modules.get(f"{library}.process")
        util: Any = sys.modules.get(f"{library}.util")
        if process is None or util is None or not _is_child(process):
            continue
        if getattr(util, "_xray_pid", None) == os.getpid():
            continue
        util._xray_pid = os.getpid()  # once per process is enough
        util.Finalize(None, close, exitpriority=0)
        with safety.guard(f"{library} results"):
            _before_results(library, write_down)


def _is_child(process: Any) -> bool:
    if hasattr(process, "parent_process"):
        return process.parent_process() is not None
    return getattr(process.current_process(), "_parent_pid", None) is not None


def _before_results(library: str, write_down: Callable[[], None]) -> None:
    """`with Pool() as pool` ends by `terminate()`, a worker of Celery's after its last task by `os._exit`: a task whose result is
    there must have its verdicts on disk.

    Pools, executors, queues and pipes look their pickler up for each thing that is sent: also those that were started
    before this. Without open steps that changed, writing down costs a microsecond.
    """
    for module in (sys.modules.get(f"{library}.{name}") for name in ("queues", "connection")):
        for name in _PICKLERS:
            pickler = getattr(module, name, None)
            if pickler is not None and not getattr(pickler, "_xray", False):
                setattr(module, name, _pickler_after(write_down, pickler))


def _pickler_after(write_down: Callable[[], None], pickler: Any) -> Any:
    class Pickler(pickler):  # type: ignore[misc]  # a class of the library's, read at run time
        _xray = True

        @classmethod
        def dumps(cls, obj: Any, protocol: int | None = None) -> Any:
            write_down()
            return super().dumps(obj, protocol)

    return Pickler
