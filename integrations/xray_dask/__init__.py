"""Decisions made in Dask's workers, on the step that handed them the work.

    carrying    functions as Dask is given them
    plugin      says which attempt of which of Dask's tasks code is in

    from xray_dask import carry, map_partitions

    with run.step("judge", "filter"):
        client.gather(client.map(carry(judge), chunks))      # also submit, delayed, bags, futures
        map_partitions(frame, judge_frame).compute()

Here and in the workers the same function runs with `current_step()` set; docs/distributed.md says what counts when a task
is run again.

Importing this loads nothing: every client of X-Ray's does, for `plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xray_dask.carrying import carry, map_partitions

__all__ = ["carry", "map_partitions"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("xray_dask.carrying"), name)
    raise AttributeError(f"module 'xray_dask' has no attribute {name!r}")
