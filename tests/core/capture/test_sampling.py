"""Samples that can be trusted: uniform, weighted, at least k per reason, consistent over steps, bounded."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.capturing import Captured, ListSink
from xray_core.capture.recorder import Recorder
from xray_core.capture.run import Run
from xray_core.capture.sampling import SPACE, BottomKSampler
from xray_core.settings import load


def _sample(hashes: list[int], *, rate: float, k: int, cap: int = 10_000) -> tuple[list[int], float]:
    step = BottomKSampler().step(rate=rate, per_reason=k, max_samples=cap)
    reason = step.reason()
    for hashed in hashes:
        if hashed < reason.limit:
            reason.offer(hashed, (hashed, None, None, None, 0))
    kept = reason.kept()
    return [sample[0] for sample, _ in kept], (kept[0][1] if kept else 0.0)


@given(st.lists(st.integers(0, SPACE - 1), unique=True, max_size=300), st.floats(0, 1), st.integers(0, 30))
def test_kept_are_exactly_those_below_the_threshold_that_gives_their_weight(
    hashes: list[int], rate: float, k: int
) -> None:
    kept, weight = _sample(hashes, rate=rate, k=k)
    assert len(kept) >= min(k, len(hashes))
    ordered = sorted(hashes)
    bound = SPACE if k and len(hashes) <= k else max(int(rate * SPACE), ordered[k] if k and len(ordered) > k else 0)
    assert kept == [h for h in ordered if h < bound]
    if kept:
        assert abs(weight - SPACE / bound) < 1e-9 * weight


@given(st.lists(st.integers(0, SPACE - 1), unique=True, max_size=400), st.randoms())
def test_the_sample_does_not_depend_on_the_order_of_arrival(hashes: list[int], rng: random.Random) -> None:
    shuffled = hashes[:]
    rng.shuffle(shuffled)
    assert _sample(hashes, rate=0.1, k=5) == _sample(shuffled, rate=0.1, k=5)


@settings(max_examples=30)
@given(st.integers(0, 2_000), st.integers(1, 40), st.integers(1, 60), st.floats(0, 1))
def test_a_step_never_holds_more_than_its_bound(n: int, reasons: int, cap: int, rate: float) -> None:
    rng = random.Random(n * 31 + reasons)
    step = BottomKSampler().step(rate=rate, per_reason=20, max_samples=cap)
    samplers = [step.reason() for _ in range(reasons)]
    for i in range(n):
        hashed = rng.randrange(SPACE)
        sampler = samplers[i % reasons]
        if hashed < sampler.limit:
            sampler.offer(hashed, (i, None, None, None, 0))
        assert step.held <= cap  # type: ignore[attr-defined]  # the bound is what is tested
    assert sum(len(sampler.kept()) for sampler in samplers) <= cap


def test_sampling_is_uniform_over_many_runs() -> None:
    """Chi-square over items: each of 200 items is kept equally often in 2,000 runs."""
    items = [f"item-{i}" for i in range(200)]
    kept = dict.fromkeys(items, 0)
    for number in range(2_000):
        captured = Captured(sample_rate=0.0, samples_per_reason=10)
        run = captured.run(run_id=f"run-{number}")
        step = run.step("s")
        for item in items:
            step.reject(item, "r")
        for bucket in step._verdicts().buckets.values():
            for sample, _ in bucket.sampler.kept():
                kept[sample[0]] += 1
    expected = 2_000 * 10 / 200
    chi_square = sum((n - expected) ** 2 / expected for n in kept.values())
    # 199 degrees of freedom: mean 199, standard deviation 20; the runs' ids are fixed, so this is not a coin toss
    assert chi_square < 199 + 5 * 20


def test_weights_estimate_totals_without_bias() -> None:
    """The sum of weight x value over 300 runs is within 4 standard errors of the truth."""
    items = [(f"item-{i}", float(i % 17)) for i in range(1_000)]
    truth = sum(value for _, value in items)
    estimates = []
    for number in range(300):
        captured = Captured(sample_rate=0.01, samples_per_reason=30)
        step = captured.run(run_id=f"r{number}").step("s")
        for item, value in items:
            step.reject(item, "r", {"value": value})
        (bucket,) = step._verdicts().buckets.values()
        estimates.append(sum(weight * sample[1]["value"] for sample, weight in bucket.sampler.kept()))
    mean = sum(estimates) / len(estimates)
    variance = sum((e - mean) ** 2 for e in estimates) / (len(estimates) - 1)
    assert abs(mean - truth) < 4 * (variance / len(estimates)) ** 0.5


def test_a_sampled_item_is_sampled_in_every_step_of_the_run() -> None:
    captured = Captured(sample_rate=0.05, samples_per_reason=0)
    with captured.run() as run:
        for name in ("a", "b"):
            with run.step(name) as step:
                for i in range(2_000):
                    step.reject(str(i), "r", {"i": i})
    by_step: dict[str, set[str]] = {}
    for record in captured.of_kind("samples"):
        by_step.setdefault(record["step_id"], set()).update(s["item_id"] for s in record["samples"])
    first, second = by_step.values()
    assert first == second
    assert 40 < len(first) < 180


def test_a_rare_reason_keeps_its_examples_among_a_million_of_another() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        for i in range(20_000):
            step.reject(f"common-{i}", "common", {"i": i})
        for i in range(3):
            step.reject(f"rare-{i}", "rare", {"i": i})
    rare = [sample for sample in captured.samples() if sample["reason"] == "rare"]
    assert len(rare) == 3
    assert all(sample["weight"] == 1.0 for sample in rare)


class Failing:
    """A sampler that raises where it is told to."""

    limit: Any = SPACE

    def __init__(self, where: str) -> None:
        self.where = where
        self.held: list[Any] = []
        if where == "limit":
            self.limit = "half"

    def step(self, **_: Any) -> Failing:
        return self._unless("step", self)

    def reason(self) -> Failing:
        return self._unless("reason", self)

    def offer(self, hashed: int, sample: Any) -> None:
        self.held.append(self._unless("offer", sample))

    def kept(self) -> Any:
        return self._unless("kept", 5 if self.where == "answer" else [(sample, 1.0) for sample in self.held])

    def _unless(self, where: str, answer: Any) -> Any:
        if self.where == where:
            raise RuntimeError(where)
        return answer


@pytest.mark.swallows
@pytest.mark.parametrize("where", ["nowhere", "step", "reason", "limit", "offer", "kept", "answer"])
def test_a_sampler_of_the_users_own_that_raises_costs_samples_alone(where: str) -> None:
    sink = ListSink()
    recorder = Recorder(load({}, {}), sink, sampler=Failing(where))
    with Run(recorder, "p") as run, run.step("s") as step:
        for n in range(1_500):
            step.reject(n, "r", {"n": n})
        step.reject_many(range(2_000, 2_010), "r")
    last = [record for record in sink.records if record["kind"] == "step"][-1]
    assert (last["status"], last["counts"], last.get("dropped")) == ("completed", {"rejected": 1_510}, None)
    samples = [record for record in sink.records if record["kind"] == "samples"]
    assert bool(samples) == (where in ("nowhere", "step", "reason", "limit"))
