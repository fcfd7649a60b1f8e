"""Threads, locks and pauses of the operating system, also where gevent or eventlet have put their own in place.

Delivery works beside the pipeline: its threads must run while the pipeline's one thread waits for something, and a lock
of theirs must not hand control to another green thread. Both libraries replace names of `_thread` and `time`, before
this is imported or after. What is taken here stays the system's either way.
"""

from __future__ import annotations

import _imp
import _thread
import time
from importlib.machinery import BuiltinImporter, ModuleSpec
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock as Lock
    from threading import RLock as RLock


def _untouched(name: str) -> Any:
    """A second copy of a module that is built into the interpreter: nobody has replaced anything in it."""
    loader: Any = BuiltinImporter
    spec = ModuleSpec(name, loader, origin="built-in")
    module = _imp.create_builtin(spec)
    _imp.exec_builtin(module)
    return module


_threads: Any = _thread if type(_thread.start_new_thread) is BuiltinFunctionType else _untouched("_thread")
_times: Any = time if type(time.sleep) is BuiltinFunctionType else _untouched("time")

start_thread: Final[Callable[[Callable[[], object], tuple[()]], int]] = _threads.start_new_thread
make_lock: Final[Callable[[], Lock]] = _threads.allocate_lock
make_rlock: Final[Callable[[], RLock]] = _threads.RLock
thread_ident: Final[Callable[[], int]] = _threads.get_ident
sleep: Final[Callable[[float], None]] = _times.sleep
