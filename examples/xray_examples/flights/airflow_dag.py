"""The flights pipeline as an Airflow 3 DAG. Nothing here opens a step: with X-Ray installed, every task is one.

`xray demo --airflow` runs it. Or put a file into your DAGs folder that says

    from xray_examples.flights.airflow_dag import *  # airflow

and trigger it with {"model_seed": 1} as conf: the traveller is sent to Buffalo.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from xray_examples.flights import pipeline
from xray_examples.flights.data import Flight, all_flights


@dag(dag_id=pipeline.PIPELINE, schedule=None, params={"model_seed": Param(2, type="integer")}, tags=["flights"])
def flight_rebooking() -> None:
    request = pipeline.Request()

    @task
    def expand_destinations(params: dict[str, Any] | None = None) -> list[str]:
        return pipeline.expand_destinations(request, (params or {})["model_seed"])

    @task
    def retrieve() -> None:
        pipeline.retrieve()  # 336,776 flights are too many for an XCom: whoever needs them reads the file

    @task(task_id="filter")
    def keep_possible(destinations: list[str]) -> list[dict[str, Any]]:
        return [flight._asdict() for flight in pipeline.filter_flights(all_flights(), destinations, request)]

    @task
    def score(flights: list[dict[str, Any]]) -> list[list[Any]]:
        scored = pipeline.score_flights([Flight(**flight) for flight in flights])
        return [[flight._asdict(), value] for flight, value in scored]

    @task
    def rank(scored: list[list[Any]]) -> list[list[Any]]:
        ranked = pipeline.rank_flights([(Flight(**flight), value) for flight, value in scored])
        return [[flight._asdict(), value] for flight, value in ranked]

    @task
    def select(ranked: list[list[Any]]) -> dict[str, Any] | None:
        best = pipeline.select_flight([(Flight(**flight), value) for flight, value in ranked])
        return None if best is None else best._asdict()

    found = keep_possible(expand_destinations())
    retrieve() >> found
    select(rank(score(found)))


flight_rebooking()
