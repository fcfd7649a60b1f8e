"""Decisions made in Ray's tasks and actors, on the step that handed them the work.

    carrying    functions and classes as Ray is given them
    plugin      says which attempt of which of Ray's tasks code is in

    from xray_ray import carry, map_batches

    with run.step("judge", "filter"):
        ray.get([ray.remote(carry(judge)).remote(chunk) for chunk in chunks])
        judge = ray.remote(carry(Judge)).remote()            # an actor: each of its methods
        map_batches(dataset, judge_batch).materialize()

docs/distributed.md says what counts when a task is run again.

Importing this loads nothing: every client of X-Ray's does, for `plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xray_ray.carrying import carry, map_batches

__all__ = ["carry", "map_batches"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("xray_ray.carrying"), name)
    raise AttributeError(f"module 'xray_ray' has no attribute {name!r}")
