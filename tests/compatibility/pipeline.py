"""A pipeline in the words of 0.1, run by any version: `python pipeline.py RUN_ID [bad]`, or `python pipeline.py RUN_ID new` in those of today.

Every outcome, sets small enough for names and large enough for fingerprints, a nested step, a failed attempt, values and metadata.
"""

from __future__ import annotations

import sys
from typing import Any

from xray_core import XRay


def main(run_id: str, kind: str = "good") -> None:
    limit = 90 if kind == "bad" else 100
    offers = [{"id": f"p{n}", "price": 50 + n} for n in range(80)]
    with XRay("offers", sample_rate=1.0) as xray:
        with xray.run(input={"q": "schuhe für \u00fcbermorgen"}, run_id=run_id, tags={"team": "shop"}) as run:
            with run.step("retrieve", step_type="retrieve") as step:
                step.set_output_items(offers, key="id")
            if kind == "new":
                _new(run)
            with run.step("filter", step_type="filter") as step:
                step.set_metadata("limit", limit)
                step.set_input_items(offers, key="id")
                for offer in offers:
                    if offer["price"] > limit:
                        step.reject(offer["id"], "price_too_high", {"price": offer["price"], "limit": limit})
                    else:
                        step.accept(offer["id"], score=offer["price"] / 100)
                with step.step("many", step_type="filter") as inner:
                    inner.reject_many([f"x{n}" for n in range(2_000)], "old")
                    inner.accept("x2000")
                    inner.errored("x2001", "unreadable")
            with run.step("select", step_type="select") as step:
                step.decide("cheapest", selected="p0", reason="lowest_price", score=0.5,
                            alternatives=[("p1", 0.51), ("p2", 0.52)])  # fmt: skip
                step.set_output({"chosen": "p0"})
            try:
                with run.step("notify") as step:
                    raise ConnectionError("no answer")
            except ConnectionError:
                pass
            run.set_output({"chosen": "p0"})
            run.set_metadata("model", "v3")
        xray.flush(20)


def _new(run: Any) -> None:
    """What 0.1 could not say."""
    ids = [f"p{n}" if n < 80 else f"o{n}" for n in range(3_000)]
    with run.step("gate", step_type="filter") as step:
        step.set_dimensions(["carrier"])
        step.set_input_items([{"id": each, "price": n} for n, each in enumerate(ids)], key="id", fields=["price"])
        step.judge(ids, ["too_dear" if n > 100 else None for n in range(3_000)],
                   details={"carrier": "DHL"}, value=list(range(3_000)), limit=100)  # fmt: skip
        step.reject("odd", "too_dear", {"carrier": "UPS"}, value=150, limit=100, score=0.1, rank=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
