"""Random pipelines with one random fault and random capture: a blame that calls itself certain names the step of the fault.

Tests compare/columns.py, options.py, parting.py, sentences.py, stored.py and what_changed.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from xray_core import XRay
from xray_core.testing import capture

CLIENT = XRay("test", disable_plugins=("*",))  # one for all examples: `capture` diverts what any client captures
Item = dict[str, Any]
Made = tuple[list[Item], list[tuple[str, str]]]  # what comes out, and (id, reason) of what fell


def cheap(items: list[Item], limit: float) -> Made:
    fell = [(item["id"], "price") for item in items if item["price"] > limit]
    return [item for item in items if item["price"] <= limit], fell


def priced(items: list[Item], factor: float) -> Made:
    return [{**item, "price": item["price"] * factor} for item in items], []


def scored(items: list[Item], factor: float) -> Made:
    return [{**item, "score": item["price"] * factor + 1} for item in items], []


def ranked(items: list[Item], sign: float) -> Made:
    return sorted(items, key=lambda item: (sign * item["price"], item["id"])), []


def first(items: list[Item], most: float) -> Made:
    kept = items[: int(most)]
    return kept, [(item["id"], "cut") for item in items[int(most) :]]


def deduplicated(items: list[Item], bucket: float) -> Made:
    seen: dict[int, Item] = {}
    fell = []
    for item in items:
        if seen.setdefault(int(item["price"] // bucket), item) is not item:
            fell.append((item["id"], "duplicate"))
    return list(seen.values()), fell


def written(items: list[Item], as_floats: float) -> Made:
    """The same values of another type."""
    return [{**item, "price": float(item["price"]) if as_floats else item["price"]} for item in items], []


def spelled(items: list[Item], rest: float) -> Made:
    """Decides by how a number is written."""
    fell = [(item["id"], "spelled") for item in items if len(repr(item["price"])) % 2 == rest]
    named = {item_id for item_id, _ in fell}
    return [item for item in items if item["id"] not in named], fell


KINDS: dict[str, tuple[Callable[[list[Item], float], Made], tuple[float, float], str | None]] = {
    "cheap": (cheap, (60, 35), "filter"),
    "priced": (priced, (1.0, 1.61), None),
    "scored": (scored, (1.0, 1.5), "score"),
    "ranked": (ranked, (1, -1), "rank"),
    "first": (first, (8, 5), "select"),
    "deduplicated": (deduplicated, (1, 25), None),
    "written": (written, (0, 1), None),
    "spelled": (spelled, (1, 0), "filter"),
}


@dataclass
class Plan:
    """A step and how much of it is captured."""

    kind: str
    shape: str
    input: str
    output: str
    verdicts: bool
    typed: bool
    parameter: bool
    framed: str = ""


GIVEN = ("nothing", "ids", "value", "records", "both", "named", "count")
ASKED_OF = (*GIVEN, "question")
SHAPES = ("plain", "plain", "plain", "nested", "mapped", "retried")


def step_of(drawn: bytes) -> Plan:
    """A step out of one draw: drawing each of its choices by itself takes longer than performing it."""
    kind, shape, input_, output, verdicts, typed, parameter, framed = drawn
    return Plan(
        kind=sorted(KINDS)[kind % len(KINDS)],
        shape=SHAPES[shape % len(SHAPES)],
        input=ASKED_OF[input_ % len(ASKED_OF)],
        output=GIVEN[output % len(GIVEN)],
        verdicts=verdicts % 2 == 1,
        typed=typed % 2 == 1,
        parameter=parameter % 2 == 1,
        framed=("", "", "", "", "pandas", "polars")[framed % 6],
    )


plans = st.lists(st.binary(min_size=8, max_size=8).map(step_of), min_size=1, max_size=5)


def frame_of(items: list[Item], library: str) -> Any:
    return _frame(library, tuple((item["id"], item["price"], item.get("score", 0.0)) for item in items))


@lru_cache(
    maxsize=256
)  # the same items go in and out of most steps, in both runs; making a frame takes as long as a step
def _frame(library: str, rows: tuple[tuple[str, float, float], ...]) -> Any:
    columns = {name: [row[n] for row in rows] for n, name in enumerate(("id", "price", "score"))}
    if library == "polars":
        return pl.DataFrame(columns, schema={"id": str, "price": float, "score": float})
    return pd.DataFrame(columns)


def told(step: Any, side: str, how: str, items: list[Item], library: str) -> None:
    """What is captured of one side: "named", "count" and "question" are values that leave out most of what went in."""
    frame = frame_of(items, library) if library else None
    if how in ("ids", "both"):
        getattr(step, f"set_{side}_items")([item["id"] for item in items] if frame is None else frame["id"])
    if how == "records":  # ids, and sums over the values
        getattr(step, f"set_{side}_items")(items if frame is None else frame, key="id")
    if how in ("value", "both"):
        getattr(step, f"set_{side}")(items if frame is None else frame)
    if how == "named":
        getattr(step, f"set_{side}")([item["id"] for item in items])
    if how == "count":
        getattr(step, f"set_{side}")({"rows": len(items)})
    if how == "question":
        getattr(step, f"set_{side}")({"query": "bottle"})


def judged(step: Any, plan: Plan, items: list[Item], parameter: float) -> list[Item]:
    function = KINDS[plan.kind][0]
    told(step, "input", plan.input, items, plan.framed)
    if plan.parameter:
        step.set_metadata("parameter", parameter)
    kept, fell = function(items, parameter)
    if plan.verdicts and plan.framed and plan.kind in ("cheap", "deduplicated"):
        reasons = dict(fell)
        frame = frame_of(items, plan.framed)
        masks = {reason: [reasons.get(item["id"]) == reason for item in items] for reason in ("price", "duplicate")}
        step.filter(frame, masks, key="id", details=["price"])
    elif plan.verdicts:
        for item in kept:
            step.accept(item["id"], score=item["score"] if plan.kind == "scored" else None)
        for item_id, reason in fell:
            step.reject(item_id, reason)
    told(step, "output", plan.output, kept, plan.framed)
    return kept


def perform(xray: XRay, plans_: list[Plan], faulty: int | None, *, tells_output: bool) -> tuple[str, list[list[Item]]]:
    """Run the pipeline: the run's id, and what really came out of each step."""
    items = [{"id": f"i{n}", "price": (n * 37) % 100} for n in range(12)]
    came_out = []
    if any(plan.kind == "written" for plan in plans_):  # a frame of these would have one type for all
        plans_ = [replace(plan, framed="") for plan in plans_]
    with xray.run(input={"query": "bottle"}) as run:
        for number, plan in enumerate(plans_):
            parameter = KINDS[plan.kind][1][int(number == faulty)]
            name = f"step{number}"
            options = {"step_type": KINDS[plan.kind][2] if plan.typed else None}
            if plan.shape == "nested":
                with run.step(f"around{number}"), run.step(name, **options) as step:
                    items = judged(step, plan, items, parameter)
            elif plan.shape == "mapped":
                parts = []
                for index in range(2):
                    shard = run.open_step(name, map_index=index, **options)
                    parts += judged(shard, plan, items[index::2], parameter)
                    shard.close()
                items = parts
            elif plan.shape == "retried":
                opened = run.open_step(name, step_id=f"{run.run_id}-{number}", attempt=1, **options)
                opened.close("failed", error=TimeoutError("no answer"))
                opened = run.open_step(name, step_id=f"{run.run_id}-{number}", attempt=2, **options)
                items = judged(opened, plan, items, parameter)
                opened.close()
            else:
                with run.step(name, **options) as step:
                    items = judged(step, plan, items, parameter)
            came_out.append(items)
        if tells_output:
            run.set_output(items)
    return run.run_id, came_out


def check(plans_: list[Plan], faulty: int, tells_output: bool) -> None:
    faulty %= len(plans_)
    with capture() as result:
        a, right = perform(CLIENT, plans_, None, tells_output=tells_output)
        b, wrong = perform(CLIENT, plans_, faulty, tells_output=tells_output)
    diff = result.diff(a, b)
    parted = diff.parted_at
    event("certain" if parted and parted.certain else "not certain" if parted else "nowhere")
    if parted is None or not parted.certain:
        return
    named = parted.step
    if right[faulty] == wrong[faulty]:
        # the parameter changed nothing that came out: only what was told of its values can differ
        assert named == f"step{faulty}", diff.sentence
    else:
        assert named in (f"step{faulty}", f"around{faulty}"), (diff.sentence, faulty)
    assert parted.kind in ("code_changed", "non_deterministic"), diff.sentence


VALUE_ALL = Plan("priced", "plain", "value", "value", False, False, False)
HIDDEN = Plan("priced", "plain", "ids", "ids", False, False, False)
GATE = Plan("cheap", "plain", "ids", "ids", True, True, False)
NAMES_ALONE = Plan("priced", "plain", "question", "named", False, False, False)
COUNT_ALONE = Plan("priced", "plain", "value", "count", False, False, False)
ASKED = Plan("cheap", "plain", "question", "nothing", True, False, False)
WRITTEN = Plan("written", "plain", "value", "value", False, False, False)
SPELLED = Plan("spelled", "plain", "records", "value", True, False, False)
COUNTED = Plan("scored", "plain", "count", "value", False, False, False)


@example(plans_=[VALUE_ALL, HIDDEN, GATE], faulty=1, tells_output=True)  # values changed, ids did not
@example(plans_=[Plan("ranked", "plain", "ids", "nothing", True, False, False), GATE], faulty=0, tells_output=False)
@example(
    plans_=[NAMES_ALONE, ASKED], faulty=0, tells_output=False
)  # what came out is told by its ids, what went in by less
@example(plans_=[WRITTEN, SPELLED], faulty=0, tells_output=True)  # equal values of another type
@example(plans_=[COUNT_ALONE, COUNTED], faulty=0, tells_output=True)  # "12 rows" are no values
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans_=plans, faulty=st.integers(0, 4), tells_output=st.booleans())
def test_a_certain_blame_names_the_step_of_the_fault(plans_: list[Plan], faulty: int, tells_output: bool) -> None:
    check(plans_, faulty, tells_output)


@pytest.mark.stack
@pytest.mark.timeout(3_600)
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans_=plans, faulty=st.integers(0, 4), tells_output=st.booleans())
def test_a_certain_blame_names_the_step_of_the_fault_in_ten_thousand_pipelines(
    plans_: list[Plan], faulty: int, tells_output: bool
) -> None:
    check(plans_, faulty, tells_output)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans_=plans, tells_output=st.booleans())
def test_where_nothing_is_wrong_nothing_is_blamed(plans_: list[Plan], tells_output: bool) -> None:
    with capture() as result:
        a, _ = perform(CLIENT, plans_, None, tells_output=tells_output)
        b, _ = perform(CLIENT, plans_, None, tells_output=tells_output)
    assert result.diff(a, b).parted_at is None
