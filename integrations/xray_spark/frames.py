"""What a program does with frames and columns of Spark's: Spark's own calls, given functions that judge inside of a step.

How such a function knows its step and its task is calls.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xray_core import current_step
from xray_spark.calls import Calls, InSpark


def map_in_pandas(frame: Any, function: Callable[..., Any], schema: Any, **options: Any) -> Any:
    """`frame.mapInPandas(function, schema)`, with every partition judged inside the step that is current now."""
    token = current_step().token()
    return frame.mapInPandas(InSpark(function, token).as_function() if token else function, schema, **options)


def foreach_partition(frame: Any, function: Callable[..., Any]) -> None:
    """`frame.foreachPartition(function)`, of a DataFrame or an RDD, inside the step that is current now."""
    token = current_step().token()
    frame.foreachPartition(InSpark(function, token).as_function() if token else function)


def udf(function: Callable[..., Any], returnType: Any = "string", **options: Any) -> Callable[..., Any]:
    """`pyspark.sql.functions.udf`, with every row judged inside the step that is current when a column is made of it."""
    from pyspark.sql import functions

    return _made_for_each_column(functions.udf, function, returnType, options)


def pandas_udf(function: Callable[..., Any], returnType: Any, **options: Any) -> Callable[..., Any]:
    """`pyspark.sql.functions.pandas_udf`, with every batch judged inside the step that is current when a column is made of it."""
    from pyspark.sql import functions

    return _made_for_each_column(functions.pandas_udf, function, returnType, options)


def _made_for_each_column(make: Any, function: Callable[..., Any], returns: Any, options: Any) -> Callable[..., Any]:
    """Columns are told apart: one task may compute two of them, of one function."""

    def column(*columns: Any, **named: Any) -> Any:
        token = current_step().token()
        called = Calls(function, token).as_function() if token else function
        return make(called, returns, **options)(*columns, **named)

    column.__doc__ = function.__doc__
    return column
