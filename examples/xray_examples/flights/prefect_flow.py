"""The flights pipeline as a Prefect flow: the functions of pipeline.py, made tasks. Nothing here names X-Ray.

xray run -- python -m xray_examples.flights.prefect_flow [SEED ...]
"""

from __future__ import annotations

import sys

from prefect import flow, task
from prefect.utilities.annotations import quote

from xray_examples.flights import pipeline
from xray_examples.flights.data import Flight
from xray_examples.flights.pipeline import PIPELINE, Request

expand_destinations = task(pipeline.expand_destinations)
retrieve = task(pipeline.retrieve)
filter_flights = task(pipeline.filter_flights, name="filter")
score = task(pipeline.score_flights, name="score")
rank = task(pipeline.rank_flights, name="rank")
select = task(pipeline.select_flight, name="select")


@flow(name=PIPELINE)
def rebook(request: Request, model_seed: int) -> Flight | None:
    """The flight that the traveller is sent on."""
    destinations = expand_destinations(request, model_seed)
    # quoted: Prefect would look for futures in each of 336,776 flights
    kept = filter_flights(quote(retrieve()), destinations, request)
    return select(rank(score(kept)))


def main() -> int:
    """Run the flow in this process, once for each seed given."""
    for seed in map(int, sys.argv[1:] or ["1"]):
        best = rebook(Request(), seed)
        print(f"{best.id} to {best.dest}" if best else "no flight")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
