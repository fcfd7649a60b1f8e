"""Alerts over many small runs taken together, and on one value of a dimension: in history and as runs come in.

Tests alerts/judge.py and dry_run.py.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from xray_server.alerts.judge import Figures, judge
from xray_server.alerts.rules import Rule

from tests.server.alerts.conftest import Receiver, add_rule, eventually, ingest, step
from tests.server.alerts.conftest import judged as judged_all

T0 = 1_760_000_000_000_000
POOLED = Rule(name="small", metric="changed_rate", pool=15, window=30)
_STEP = Figures("default", "", "s", 1, "p", "slots", "filter", "completed", 0, 0, 1)


def figures(run: int, rejected: int, n: int = 12, **more: Any) -> Figures:
    at_us = T0 + run * 1_000_000
    return replace(
        _STEP,
        run_id=f"run {run}",
        at_us=at_us,
        ended_us=at_us,
        input=n,
        rejected=rejected,
        rejection_rate=rejected / n,
        **more,
    )


def judged(rule: Rule, runs: list[Figures]) -> Any:
    newest_first = runs[::-1]
    return judge(rule, newest_first[0], newest_first[rule.pool : rule.looks_back + 1], newest_first[1 : rule.pool])


def test_twelve_items_a_run_say_nothing_alone_and_enough_together() -> None:
    chance = random.Random(2)
    runs = [figures(n, sum(chance.random() < (0.15 if n < 30 else 0.45) for _ in range(12))) for n in range(45)]
    assert judge(POOLED.model_copy(update={"pool": 1}), runs[-1], runs[:-1]).state == "unsaid"
    found = judged(POOLED, runs)
    assert found.state == "breach"
    assert "of 180 items in its last 15 runs; 1" in found.sentence
    assert any(f"since run run {n}, 2025-10-09T" in found.sentence for n in (29, 30, 31))


def test_runs_that_only_scatter_hardly_ever_ring() -> None:
    chance = random.Random(5)
    rings = 0
    for _ in range(1_000):
        rates = [min(1.0, max(0.0, chance.gauss(0.2, 0.05))) for _ in range(45)]
        runs = [figures(n, sum(chance.random() < rate for _ in range(12))) for n, rate in enumerate(rates)]
        rings += judged(POOLED, runs).state == "breach"
    assert rings <= 3


def test_a_dimension_is_judged_by_its_own_counts_and_steps_without_it_say_nothing() -> None:
    def run(n: int, bad: int) -> Figures:
        counts = {"carrier": {"DHL": {"accepted": 6 - bad, "rejected": bad}, "UPS": {"accepted": 5, "rejected": 1}}}
        return figures(n, bad + 1, dimensions=counts)

    runs = [run(n, 1 if n < 30 else 4) for n in range(45)]
    dhl, ups, gls = (POOLED.model_copy(update={"dimension": f"carrier={name}"}) for name in ("DHL", "UPS", "GLS"))
    assert judged(dhl, runs).state == "breach"
    assert "of 90 items where carrier=DHL in its last 15 runs" in judged(dhl, runs).sentence
    assert judged(ups, runs).state == "fine"
    assert judged(gls, runs).state == "unsaid"
    high = Rule(name="r", metric="rejection_rate", above=0.5, dimension="carrier=DHL", min_items=1)
    assert judge(high, runs[-1]).state == "breach"
    assert judge(high, runs[0]).state == "fine"


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": "changed_reasons", "pool": 5},
        {"metric": "zero_output", "dimension": "carrier=DHL"},
        {"metric": "changed_rate", "dimension": "carrier"},
        {"metric": "changed_rate", "pool": 0},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rule(name="r", **wrong)


def test_a_pooled_rule_fires_as_runs_come_in_and_its_history_tells_the_same(
    allowed: httpx.Client, receiver: Receiver
) -> None:
    rule = {"metric": "changed_rate", "above": None, "pool": 10, "window": 20}
    rule_id = add_rule(allowed, **rule, to=[receiver.url])
    for run in range(40):
        rejected = 2 + run % 2 if run < 28 else 9
        record = step(f"run-{run:02}", rejected=rejected, accepted=12 - rejected, ago_s=3_600 - 60 * run)
        ingest(allowed, record)
    eventually(lambda: receiver.told, "nothing was sent")
    judged_all(allowed)
    ((kind, run_id),) = receiver.told
    assert kind == "fired"
    assert "run-28" < run_id <= "run-38"
    assert "in its last 10 runs; " in receiver.bodies[0]["why"]["sentence"]
    tried = allowed.get(f"/alerts/rules/{rule_id}/test", params={"since": "2h"}).json()
    assert [(event["kind"], event["run_id"]) for event in tried["events"]] == [("fired", run_id)]
