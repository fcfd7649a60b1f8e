"""What finding items without code costs: a million rows as a polars column and as a list of dicts, ids alone and with values.

CPU time of the calling thread, median of the rounds. Bars: 120 ms for a polars column, 450 ms for a list of dicts; and for a step of
5 ms or a second, 5 ms or 2% of it. Without numpy a polars column misses its bar: each id becomes an object, as in a list.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from xray_core.capture.budget import Budget
from xray_core.capture.inference import Observed
from xray_core.objects.sanitize import Sanitizer

ROWS = 1_000_000
ROUNDS = 5


def main() -> None:
    import polars as pl

    ids = [f"order-{n}" for n in range(ROWS)]
    column = pl.DataFrame({"order_id": ids})
    frame = column.with_columns(price=pl.int_range(ROWS) * 0.5, city=pl.lit("Rome"))
    dicts = [{"order_id": each} for each in ids]
    records = [{"order_id": each, "price": n * 0.5} for n, each in enumerate(ids)]
    cases = (
        ("polars column, as long as it takes", column, 3_600.0, 120),
        ("list of dicts, as long as it takes", dicts, 3_600.0, 450),
        ("polars with values, as long as it takes", frame, 3_600.0, None),
        ("list of dicts with values, as long as it takes", records, 3_600.0, None),
        ("polars with values, after a step of 10 s", frame, 10.0, 200),
        ("list of dicts with values, after a step of 10 s", records, 10.0, 200),
        ("polars with values, after a step of 5 ms", frame, 0.005, 5),
        ("list of dicts with values, after a step of 5 ms", records, 0.005, 5),
    )
    for program in ("a program without numpy", "a program that has loaded numpy"):
        if "without" not in program:
            import numpy as np

            assert np
        print(program)
        for name, value, took_s, bar_ms in cases:
            ms, found = _median_ms(value, took_s)
            bar = "" if bar_ms is None else f"  bar {bar_ms}{'' if ms <= bar_ms else '  MISSED'}"
            print(f"  {name:50} {ms:8.1f} ms{bar}  {found}")


def _median_ms(value: Any, took_s: float) -> tuple[float, str]:
    times = []
    for _ in range(ROUNDS):
        budget = Budget()
        observed = Observed(None, Sanitizer(), budget.tick)
        before = time.thread_time()
        with budget.look(took_s):
            observed.see_result(value)
            found = observed.infer(failed=False)
        times.append(1e3 * (time.thread_time() - before))
    side = found.related.came_out if found is not None else None
    if side is None:
        return statistics.median(times), "nothing read"
    return statistics.median(times), f"ids, {len(side.values.get('columns', {}))} columns"


if __name__ == "__main__":
    main()
