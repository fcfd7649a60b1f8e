"""What step.filter costs beside the bare filter: the 336,776 flights of the example and its five masks.

Medians of interleaved rounds, CPU time of the calling thread, the durable write to the spool included. Bars: 0.4 us a row for
`step.filter` with pandas and polars, details of sampled rows included, and for `reject_many` of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xray_examples.flights.data import all_flights

from tests.benchmarks.capture import _interleaved, _xray

BAR_US = 0.4
ROUNDS = 9
WANTED = ["LAX", "BUR", "LGB", "SNA"]


def main() -> None:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from xray_core.capture.columns import hash_all, read_ids

    flights = [flight._asdict() for flight in all_flights()]
    n = len(flights)
    frame, polars, table = pd.DataFrame(flights), pl.DataFrame(flights), pa.Table.from_pylist(flights)
    ids = frame["id"].tolist()
    numbers = list(range(n))
    xray = _xray()
    run = xray.run()
    run.__enter__()

    def in_step(work: Callable[[Any], object]) -> Callable[[], None]:
        def call() -> None:
            with run.step("filter", "filter") as step:
                work(step)

        return call

    def pandas_masks() -> dict[str, Any]:
        return {
            "wrong_destination": ~frame.dest.isin(WANTED), "wrong_day": frame.day != "2013-06-14",
            "cancelled": frame.cancelled | frame.air_time_min.isna(), "departs_too_early": frame.departs < "07:00",
            "departs_too_late": frame.departs > "11:30",
        }  # fmt: skip

    expressions = {
        "wrong_destination": ~pl.col("dest").is_in(WANTED), "wrong_day": pl.col("day") != "2013-06-14",
        "cancelled": pl.col("cancelled") | pl.col("air_time_min").is_null(), "departs_too_early": pl.col("departs") < "07:00",
        "departs_too_late": pl.col("departs") > "11:30",
    }  # fmt: skip
    arrow_masks = {name: pa.array(mask.to_numpy()) for name, mask in pandas_masks().items()}

    def bare_pandas() -> object:
        masks = list(pandas_masks().values())
        rejected = masks[0]
        for mask in masks[1:]:
            rejected = rejected | mask
        return frame[~rejected]

    def bare_polars() -> object:
        return polars.filter(~pl.any_horizontal(*expressions.values()))

    details = ["dest", "day", "departs"]
    reasons = [None if i % 9 == 0 else f"reason {i % 5}" for i in range(n)]
    figures = _interleaved(
        {
            "bare pandas filter": bare_pandas,
            "step.filter, pandas": in_step(lambda step: step.filter(frame, pandas_masks(), key="id", details=details)),
            "bare polars filter": bare_polars,
            "step.filter, polars": in_step(lambda step: step.filter(polars, expressions, key="id", details=details)),
            "step.filter, pyarrow": in_step(lambda step: step.filter(table, arrow_masks, key="id", details=details)),
            "step.judge, two lists": in_step(lambda step: step.judge(ids, reasons)),
            "reject_many, list of str": in_step(lambda step: step.reject_many(ids, "x")),
            "reject_many, list of int": in_step(lambda step: step.reject_many(numbers, "x")),
            "reject_many, with details": in_step(lambda step: step.reject_many(ids, "x", frame[details])),
            "hash_all, polars text": lambda: hash_all(read_ids(polars["id"]).texts),
            "hash_all, list of str": lambda: hash_all(read_ids(ids).texts),
        },
        rounds=ROUNDS,
    )
    run.__exit__(None, None, None)
    xray.close(0)
    bare = {"step.filter, pandas": "bare pandas filter", "step.filter, polars": "bare polars filter"}
    for name, seconds in figures.items():
        own = seconds - figures[bare[name]] if name in bare else seconds
        over = f"   {own / n * 1e6:6.3f} us over the bare filter" if name in bare else ""
        bar = f"   (bar {BAR_US})" if name.startswith(("step.filter, p", "reject_many, list")) else ""
        print(f"  {name:28} {seconds / n * 1e6:8.3f} us a row{over}{bar}")


if __name__ == "__main__":
    main()
