"""The statistics of `changed_*`: they see what changed, and do not cry wolf over small, scattered or unequal runs."""

from __future__ import annotations

import random
from collections import Counter

import httpx
import pytest
from xray_server.alerts.change import mix_change, rate_change
from xray_server.statistics import f_upper, incomplete_beta, t_two_sided

from tests.server.alerts.conftest import Receiver, add_rule, eventually, ingest, judged, step

LIMITS = {"min_change": 0.1, "min_runs": 5}


def hits(generator: random.Random, n: int, rate: float) -> int:
    return sum(generator.random() < rate for _ in range(n))


def test_the_distributions_have_the_values_of_the_tables() -> None:
    """Critical values as any statistics book prints them."""
    assert t_two_sided(2.776, 4) == pytest.approx(0.05, abs=1e-4)
    assert t_two_sided(-8.610, 4) == pytest.approx(0.001, abs=1e-5)
    assert t_two_sided(1.960, 100_000) == pytest.approx(0.05, abs=1e-4)
    assert f_upper(4.256, 2, 9) == pytest.approx(0.05, abs=1e-4)
    assert f_upper(5.636, 5, 10) == pytest.approx(0.01, abs=1e-4)
    assert incomplete_beta(0.3, 2, 2) == pytest.approx(3 * 0.3**2 - 2 * 0.3**3)
    assert (incomplete_beta(0, 2, 3), incomplete_beta(1, 2, 3), f_upper(0, 2, 3)) == (0, 1, 1)


def test_random_small_runs_do_not_fire() -> None:
    """5,000 series of runs of 1 to 120 items whose rates scatter as real ones do: at most one in a thousand is called changed."""
    generator = random.Random(7)
    fired = 0
    for _ in range(5_000):
        usual = generator.random()
        runs = []
        for _ in range(generator.randint(1, 21)):
            n = generator.randint(1, 120)
            rate = min(1.0, max(0.0, generator.gauss(usual, 0.05)))
            runs.append((hits(generator, n, rate), n))
        fired += rate_change(*runs[-1], runs[:-1], **LIMITS).changed
    assert fired <= 5


def test_random_small_mixes_do_not_fire() -> None:
    generator = random.Random(8)
    fired = 0
    for _ in range(1_500):
        reasons = "abcdefgh"[: generator.randint(1, 8)]
        weights = [generator.random() + 0.01 for _ in reasons]
        runs = [
            Counter(generator.choices(reasons, [w * generator.uniform(0.8, 1.2) for w in weights], k=generator.randint(1, 80)))
            for _ in range(generator.randint(1, 21))
        ]  # fmt: skip
        fired += mix_change(runs[-1], runs[:-1], **LIMITS).changed
    assert fired <= 3


def test_large_runs_that_scatter_are_not_called_changed_by_their_size_alone() -> None:
    """At 100,000 items the plain two-proportion test would call every one of these changed (p < 1e-30)."""
    before = [(int(100_000 * rate), 100_000) for rate in (0.31, 0.42, 0.35, 0.48, 0.39, 0.44, 0.33, 0.46)]
    assert not rate_change(51_000, 100_000, before, **LIMITS).changed
    assert rate_change(95_000, 100_000, before, **LIMITS).changed


def test_a_real_change_is_seen_and_a_small_one_is_not_worth_telling() -> None:
    before = [(300 + i, 1_000) for i in range(10)]
    assert rate_change(600, 1_000, before, **LIMITS).changed
    small = rate_change(36_000, 100_000, [(30_000 + i, 100_000) for i in range(10)], **LIMITS)
    assert (small.p < 0.001, small.changed) == (True, False)
    mixes = [{"price": 700 + i, "stock": 300} for i in range(10)]
    found = mix_change({"price": 300, "stock": 700}, mixes, **LIMITS)
    assert (found.changed, found.most in ("price", "stock")) == (True, True)
    assert mix_change({"price": 600, "new": 400}, mixes, **LIMITS).most == "new" or found.changed
    assert mix_change({"new": 1_000}, mixes, **LIMITS).changed
    assert not mix_change({"price": 1_400, "stock": 600}, mixes, **LIMITS).changed


@pytest.mark.parametrize("runs", [0, 4])
def test_with_too_few_runs_or_items_nothing_is_said(runs: int) -> None:
    assert not rate_change(900, 1_000, [(300, 1_000)] * runs, **LIMITS).enough
    assert not rate_change(3, 3, [(0, 3)] * 20, **LIMITS).enough
    assert not mix_change({"a": 900}, [{"b": 1_000}] * runs, **LIMITS).enough
    assert not rate_change(0, 0, [(1, 2)] * 20, **LIMITS).enough
    assert rate_change(0, 100, [(0, 100)] * 20, **LIMITS).p == 1.0


def test_a_change_fires_lasts_and_resolves_and_small_random_runs_before_it_say_nothing(
    allowed: httpx.Client, receiver: Receiver
) -> None:
    """40 ordinary runs, then three whose mix is another, then ordinary ones again."""
    generator = random.Random(9)
    for metric in ("changed_reasons", "changed_rate"):
        add_rule(allowed, name=metric, metric=metric, above=None, to=[receiver.url])

    def ordinary(number: int, n: int) -> dict[str, object]:
        price = hits(generator, n, 0.3)
        stock = hits(generator, n - price, 0.3)
        return step(f"run-{number}", rejected=price + stock, accepted=n - price - stock, ago_s=600 - number,
                    reasons={"price": price, "stock": stock})  # fmt: skip

    ingest(allowed, *[ordinary(i, generator.randint(1, 400)) for i in range(40)])
    judged(allowed)
    assert allowed.get("/alerts/history").json()["events"] == []
    for i in range(40, 43):
        ingest(
            allowed, step(f"run-{i}", rejected=290, accepted=210, ago_s=600 - i, reasons={"price": 20, "stock": 270})
        )
        judged(allowed)
    eventually(lambda: receiver.told == [("fired", "run-40")], "it did not fire once, or resolved while it lasted")
    assert "stock" in receiver.bodies[0]["why"]["sentence"] or "price" in receiver.bodies[0]["why"]["sentence"]
    ingest(allowed, ordinary(43, 400))
    eventually(lambda: receiver.told == [("fired", "run-40"), ("resolved", "run-43")], "it did not resolve")
    tried = allowed.get(f"/alerts/rules/{allowed.get('/alerts/rules').json()['rules'][0]['rule_id']}/test").json()
    assert [(event["kind"], event["run_id"]) for event in tried["events"]] == [
        ("fired", "run-40"),
        ("resolved", "run-43"),
    ]
