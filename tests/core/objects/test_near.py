"""Small values whose numbers differ in their last digits have one rounded fingerprint."""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest

from xray_core.objects.fingerprint import fingerprint
from xray_core.objects.near import Own, near
from xray_core.objects.near import lasting as lasting_of
from xray_core.testing import capture
from xray_core.xray import XRay

STEPS = XRay("near")


def lasting(value: Any, given: Any = None, run_id: str = "") -> str | None:
    own = Own(run_id, {})
    lasting_of(given, own)
    return lasting_of(value, own)


@pytest.mark.parametrize(("a", "b"), [
    (0.1 + 0.2, 0.3), (3.0, 3 - 4e-16), (0.0, 1e-17), (np.float64(0.1) + 0.2, 0.3),
    ({"mean": 0.1 + 0.2, "n": 5}, {"mean": 0.3, "n": 5}), ([0.3, (1, None)], [0.1 + 0.2, (1, None)]),
])  # fmt: skip
def test_the_last_digits_make_no_difference(a: Any, b: Any) -> None:
    assert near(a) == near(b) is not None


@pytest.mark.parametrize(
    ("a", "b"), [(0.3, 0.3 + 1e-9), (1.0, 2.0), (math.nan, math.inf), ({"x": 0.5}, {"y": 0.5}), ([0.5, 1], [1, 0.5])]
)
def test_all_else_does(a: Any, b: Any) -> None:
    assert near(a) != near(b)


@pytest.mark.parametrize(
    "value", [[1.5, (2.0, {"a": -0.25})], 0.0, -0.0, [0.1 + 0.2], {"x": 1e-15}, [float("nan")], [float("inf"), 1]]
)
def test_with_its_own_fingerprint_at_hand_a_value_comes_to_the_same(value: Any) -> None:
    assert near(value, fingerprint(value)["exact"]) == near(value)


@pytest.mark.parametrize("value", [5, "a text", None, [1, 2], [0.5] * 300, object(), {"x": {0.5}}])
def test_of_other_values_nothing_is_told(value: Any) -> None:
    assert near(value) is None


@pytest.mark.parametrize("tolerance", [1e-9, 0.0])
def test_a_number_that_passed_through_a_step_is_compared_within_the_tolerance_and_proves_nothing(
    tolerance: float,
) -> None:
    def mean(amount: float, n: int, *, wrong: bool) -> dict[str, float]:
        return {"mean": amount / n + wrong, "n": n}

    with capture() as result:
        for name, values, wrong in (("a", [0.1, 0.2, 0.3], 0), ("b", [0.3, 0.2, 0.1], 0), ("c", [0.3, 0.2, 0.1], 1)):
            with result.xray.run(input=1, run_id=name) as run:
                amount = STEPS.step("total")(
                    lambda held=values: reduce(add, held)
                )()  # sum() rounds better from 3.12 on
                run.set_output(STEPS.step("mean")(mean)(amount, 3, wrong=bool(wrong))["mean"] > 0.5)
        same, other = (result.diff("a", name, tolerance=tolerance) for name in ("b", "c"))
    assert (same.parted_at is None) == (tolerance > 0)
    assert other.parted_at is not None
    assert other.parted_at.step == ("mean" if tolerance else "total")
    assert other.parted_at.certain == (tolerance == 0)


@pytest.mark.parametrize(("a", "b"), [
    ({"text": "x", "request_id": "a"}, {"text": "x", "request_id": "b"}),
    ({"rows": [1, {"took_ms": 0.1}]}, {"rows": [1, {"took_ms": 0.2}]}),
    ("/tmp/tmpab12cd34/rows.csv", "/tmp/tmp9x8y7z6w/rows.csv"),
    ({"x": 0.1 + 0.2, "host": "a"}, {"x": 0.3, "host": "b"}),
])  # fmt: skip
def test_what_is_another_in_every_run_is_left_out(a: Any, b: Any) -> None:
    assert lasting(a) == lasting(b) is not None


@pytest.mark.parametrize(
    ("a", "b"), [({"text": "x", "host": "a"}, {"text": "y", "host": "a"}), ({"host": 1, "n": 1}, {"host": 1, "m": 1})]
)
def test_what_lasts_is_told_apart(a: Any, b: Any) -> None:
    assert lasting(a) != lasting(b)


@pytest.mark.parametrize("value", [1, "x", {"worker": "ann"}, {"at": "2001-03-01T12:00:00"}, [object(), {"host": 1}]])
def test_a_value_without_such_has_no_fingerprint_of_what_lasts(value: Any) -> None:
    assert lasting(value) is None


A, B, C, D = (f"c9bf9e57-1685-4c89-bafb-ff5af830be8{n}" for n in range(4))


def test_ids_that_were_made_up_are_told_apart_by_their_order() -> None:
    rows = [[{"id": one, "text": "x"}, {"id": other, "text": "y"}] for one, other in ((A, B), (C, D))]
    assert lasting(rows[0]) == lasting(rows[1]) is not None
    assert lasting({"chosen": A, "n": 1}) == lasting({"chosen": C, "n": 1})
    assert lasting({"chosen": A, "n": 1}, rows[0]) == lasting({"chosen": C, "n": 1}, rows[1])
    assert lasting({"chosen": A, "n": 1}, rows[0]) != lasting({"chosen": B, "n": 1}, rows[0])


@pytest.mark.parametrize("value", [A, [A, B], {"sha": "9" * 40, "n": 1}, {"id": "order-17", "n": 1}])
def test_nothing_but_such_ids_and_digests_and_names_are_what_was_decided(value: Any) -> None:
    assert lasting(value) is None


def test_the_id_of_the_run_is_left_out_of_texts() -> None:
    assert (
        lasting("s3://b/run-0001/x", run_id="run-0001") == lasting("s3://b/run-0002/x", run_id="run-0002") is not None
    )
