"""Decisions made in Spark's Python workers, on the step that handed them the work.

    frames      what a program calls instead of Spark's own
    calls       functions as Spark is given them
    plugin      says which attempt of which of Spark's tasks code is in

    from xray_spark import foreach_partition, map_in_pandas, pandas_udf, udf

    with run.step("judge", "filter"):
        map_in_pandas(frame, judge_frames, frame.schema).write.parquet(path)
        foreach_partition(frame, judge_rows)
        frame.select(udf(judge, "boolean")("price")).collect()

Spark is lazy: the action belongs into the step too. What two actions both compute is judged twice, by Spark itself, and
counts twice: `cache()` it. docs/distributed.md says what counts when a task is run again.

Importing this loads nothing: every client of X-Ray's does, for `plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xray_spark.frames import foreach_partition, map_in_pandas, pandas_udf, udf

__all__ = ["foreach_partition", "map_in_pandas", "pandas_udf", "udf"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("xray_spark.frames"), name)
    raise AttributeError(f"module 'xray_spark' has no attribute {name!r}")
