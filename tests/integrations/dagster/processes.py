"""Definitions for the tests on real processes: started by name, as users' are. Holds no tests."""

import os
import signal
import time

import xray_dagster
from dagster import (
    Definitions,
    DynamicOut,
    DynamicOutput,
    RetryPolicy,
    asset,
    define_asset_job,
    graph_asset,
    job,
    op,
)

from xray_core import current_step

if "XRAY_TEST_MAIN_ONLY" in os.environ:  # the first process to import this hands its id down
    os.environ.setdefault("XRAY_TEST_MAIN_PID", str(os.getpid()))
REACHED = os.environ.get("XRAY_TEST_MAIN_PID", str(os.getpid())) == str(os.getpid())
if not {"XRAY_AUTOLOAD", "XRAY_TEST_BY_CONFIG"} & set(os.environ) and REACHED:  # these two need no line of code
    xray_dagster.enable()


@op(out=DynamicOut(int))
def fan_out():
    for number in (1, 2):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def double(number: int) -> int:
    current_step().reject(f"item-{number}", "odd" if number % 2 else "even")
    return number * 2


@op
def add_up(numbers: list[int]) -> int:
    return sum(numbers)


@op
def not_reached(value: int) -> None: ...


@op(retry_policy=RetryPolicy(max_retries=1))
def killed(value: int) -> int:
    """Dies in the middle, each time it is tried."""
    step = current_step()
    step.reject("before-death", "seen")
    time.sleep(2.5)  # the step is written down once a second
    os.kill(os.getpid(), signal.SIGKILL)
    return value


@op
def fails(value: int) -> int:
    raise ValueError("price is missing")


@op
def waits(value: int) -> int:
    current_step().reject("waiting", "seen")
    open(os.environ["XRAY_TEST_STARTED"], "w").close()
    time.sleep(120)
    return value


@job
def several():
    add_up(fan_out().map(double).collect())


@job
def dying():
    total = add_up(fan_out().map(double).collect())
    not_reached(killed(total))


@job
def failing():
    not_reached(fails(add_up(fan_out().map(double).collect())))


@job
def waiting():
    waits(add_up(fan_out().map(double).collect()))


@asset
def offers() -> list[int]:
    current_step().reject("offer-9", "too_dear")
    return [1, 2, 3]


@asset
def best(offers: list[int]) -> int:
    current_step().decide("best", selected=str(offers[0]), alternatives=[str(each) for each in offers[1:]])
    return offers[0]


@op
def keep_some(number: int) -> int:
    current_step().reject_many((f"{number}-{n}" for n in range(10 * number)), "stale")
    return number


@graph_asset
def graph_of_mapped() -> int:
    return add_up(fan_out().map(keep_some).collect())


defs = Definitions(
    assets=[offers, best, graph_of_mapped],
    jobs=[several, dying, failing, waiting, define_asset_job("best_offer", selection=["offers", "best"]),
          define_asset_job("in_a_graph", selection=["graph_of_mapped"])],
)  # fmt: skip


def in_a_graph():
    return defs.get_repository_def().get_job("in_a_graph")
