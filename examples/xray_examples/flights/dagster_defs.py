"""The flights pipeline as Dagster assets: the same functions, the same steps, the same answers.

xray run -- dagster dev -m xray_examples.flights.dagster_defs        # launch `flight_rebooking` in Dagster's UI
python -m xray_examples.flights.dagster_defs [SEED ...]              # or run it here, once per seed
"""

import sys

import dagster
import xray_dagster
from dagster import AssetExecutionContext, ConfigurableResource, Definitions, asset, define_asset_job

from xray_examples.flights import pipeline
from xray_examples.flights.data import Flight
from xray_examples.flights.pipeline import PIPELINE, Request

# One line makes every asset below an X-Ray step; under `xray run` not even that is needed.
xray_dagster.enable(attach_ledger=True)

GROUP = "flights"


class Trip(ConfigurableResource):
    """What the traveller asked for, and the temperature of the model that reads it."""

    to: str = Request.to
    day: str = Request.day
    earliest: str = Request.earliest
    latest: str = Request.latest
    model_seed: int = 1

    def request(self) -> Request:
        return Request(self.to, self.day, self.earliest, self.latest)


@asset(group_name=GROUP, op_tags={"xray/step_type": "generate"})
def expand_destinations(trip: Trip) -> list[str]:
    """Which airports the traveller may mean."""
    return pipeline.expand_destinations(trip.request(), trip.model_seed)


@asset(group_name=GROUP, op_tags={"xray/step_type": "retrieve"})
def retrieve() -> list[Flight]:
    """Every flight there is: 336,776."""
    return pipeline.retrieve()


@asset(group_name=GROUP, name="filter", op_tags={"xray/step_type": "filter"})
def filter_flights(trip: Trip, retrieve: list[Flight], expand_destinations: list[str]) -> list[Flight]:
    """Those that go there, on the day, in the window."""
    return pipeline.filter_flights(retrieve, expand_destinations, trip.request())


@asset(group_name=GROUP, op_tags={"xray/step_type": "score"})
def score(filter: list[Flight]) -> list[tuple[Flight, float]]:  # Dagster goes by the parameter's name
    """The shorter in the air, the better."""
    return pipeline.score_flights(filter)


@asset(group_name=GROUP, op_tags={"xray/step_type": "rank"})
def rank(score: list[tuple[Flight, float]]) -> list[tuple[Flight, float]]:
    """Best first."""
    return pipeline.rank_flights(score)


@asset(group_name=GROUP, op_tags={"xray/step_type": "select"})
def select(context: AssetExecutionContext, rank: list[tuple[Flight, float]]) -> str:
    """The flight that the traveller is sent on."""
    best = pipeline.select_flight(rank)
    context.log.info(f"{best.id} to {best.dest}" if best else "no flight")
    return best.id if best else ""


ASSETS = [expand_destinations, retrieve, filter_flights, score, rank, select]

flight_rebooking = define_asset_job(PIPELINE, selection="*", executor_def=dagster.in_process_executor)
defs = Definitions(assets=ASSETS, jobs=[flight_rebooking], resources={"trip": Trip()})


def main() -> int:
    """Run the job in this process, once for each seed given."""
    job = defs.get_repository_def().get_job(PIPELINE)
    for seed in map(int, sys.argv[1:] or ["1"]):
        config = {"resources": {"trip": {"config": {"model_seed": seed}}}}
        result = job.execute_in_process(run_config=config)
        print(f"run {result.run_id}: {result.output_for_node('select') or 'no flight'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
