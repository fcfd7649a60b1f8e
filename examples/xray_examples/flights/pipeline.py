"""The pipeline `flight_rebooking`, as plain functions: expand_destinations -> retrieve -> filter -> score -> rank -> select.

The decisions are recorded on `current_step()`, whatever opened that step: this file's own `rebook`, or Prefect, Airflow or
Dagster around the same functions. Outside any step nothing is recorded, and the functions just work.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from xray_core import XRay, current_step
from xray_examples.flights.data import Flight, all_flights

PIPELINE = "flight_rebooking"


@dataclass(frozen=True)
class Request:
    """What the traveller asked for. Times are local, "HH:MM"."""

    to: str = "the Los Angeles area"
    day: str = "2013-06-14"
    earliest: str = "07:00"
    latest: str = "11:30"


def expand_destinations(request: Request, model_seed: int) -> list[str]:
    """Which airports the traveller may mean, as a language model would say: mostly right.

    The model is simulated: `model_seed` stands for its temperature. One seed in five makes it write BUF (Buffalo) where
    it means BUR (Burbank).
    """
    slips = random.Random(model_seed).random() < 0.2
    codes = ["LAX", "BUF" if slips else "BUR", "LGB", "SNA"]
    step = current_step()
    step.set_metadata("model", "places-v3")
    step.set_input({"to": request.to})
    step.set_output(codes)
    step.set_output_items(codes)
    return codes


def retrieve() -> list[Flight]:
    """Every flight there is."""
    flights = all_flights()
    current_step().set_output_items(flights, key="id")
    return flights


def filter_flights(flights: Sequence[Flight], destinations: Sequence[str], request: Request) -> list[Flight]:
    """Those that go where the traveller may mean, on the day, in the window. Every other one gets a reason."""
    step = current_step()
    step.set_input_items(flights, key="id")
    step.set_input({"destinations": list(destinations), **asdict(request)})
    wanted = ", ".join(destinations)
    kept = []
    for flight in flights:
        if flight.dest not in destinations:
            step.reject(flight.id, "wrong_destination", {"dest": flight.dest, "wanted": wanted})
        elif flight.day != request.day:
            step.reject(flight.id, "wrong_day", {"day": flight.day, "wanted": request.day})
        elif flight.cancelled or flight.air_time_min is None:
            step.reject(flight.id, "cancelled", {"departs": flight.departs})
        elif flight.departs < request.earliest:
            step.reject(flight.id, "departs_too_early", {"departs": flight.departs, "earliest": request.earliest})
        elif flight.departs > request.latest:
            step.reject(flight.id, "departs_too_late", {"departs": flight.departs, "latest": request.latest})
        else:
            step.accept(flight.id, details={"dest": flight.dest, "departs": flight.departs})
            kept.append(flight)
    return kept


def score_flights(flights: Sequence[Flight]) -> list[tuple[Flight, float]]:
    """A score from 0 to 1: the shorter in the air, the better."""
    step = current_step()
    scored = []
    for flight in flights:
        minutes = flight.air_time_min or 0
        score = round(max(0.0, 1 - minutes / 600), 3)
        step.accept(flight.id, details={"air_time_min": minutes, "dest": flight.dest}, score=score)
        scored.append((flight, score))
    return scored


def rank_flights(scored: Sequence[tuple[Flight, float]]) -> list[tuple[Flight, float]]:
    """Best first; of equals the earlier."""
    ranked = sorted(scored, key=lambda pair: (-pair[1], pair[0].departs, pair[0].id))
    step = current_step()
    for rank, (flight, score) in enumerate(ranked, 1):
        step.accept(flight.id, score=score, rank=rank)
    step.set_output_items([flight.id for flight, _ in ranked])
    return ranked


def select_flight(ranked: Sequence[tuple[Flight, float]]) -> Flight | None:
    """The first, if there is any."""
    if not ranked:
        current_step().decide("select_flight", selected=None, reason="no_flight_left")
        return None
    best, score = ranked[0]
    current_step().decide(
        "select_flight",
        selected=best.id,
        reason="shortest_air_time",
        score=score,
        alternatives=[{"id": flight.id, "score": value, "dest": flight.dest} for flight, value in ranked[1:]],
        details={"dest": best.dest, "departs": best.departs, "air_time_min": best.air_time_min},
    )
    return best


def rebook(
    xray: XRay,
    request: Request,
    model_seed: int,
    on_step: Callable[[str, float], None] = lambda name, seconds: None,
) -> tuple[str, Flight | None]:
    """The whole pipeline as a plain script runs it.

    Args:
        on_step: called with (name, seconds) after each step, to show progress.

    Returns:
        (run id, the flight that the traveller is sent on).
    """
    with xray.run(input=asdict(request)) as run:
        began = time.perf_counter()

        def done(name: str) -> None:
            nonlocal began
            on_step(name, time.perf_counter() - began)
            began = time.perf_counter()

        with run.step("expand_destinations", step_type="generate"):
            destinations = expand_destinations(request, model_seed)
        done("expand_destinations")
        with run.step("retrieve", step_type="retrieve"):
            flights = retrieve()
        done("retrieve")
        with run.step("filter", step_type="filter"):
            kept = filter_flights(flights, destinations, request)
        done("filter")
        with run.step("score", step_type="score"):
            scored = score_flights(kept)
        done("score")
        with run.step("rank", step_type="rank"):
            ranked = rank_flights(scored)
        done("rank")
        with run.step("select", step_type="select"):
            best = select_flight(ranked)
        done("select")
        run.set_output(None if best is None else best._asdict())
    return run.run_id, best
