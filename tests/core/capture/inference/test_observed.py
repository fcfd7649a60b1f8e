"""Looking at items costs what it may cost, can be switched off, touches nothing lazy and runs none of the program's code."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pytest

from tests.core.capture.inference.seen import seen
from xray_core.capture.budget import Budget
from xray_core.capture.inference import Inferred, Observed
from xray_core.errors import ConfigurationError
from xray_core.objects.sanitize import Sanitizer
from xray_core.settings import load

ROWS = [{"id": n} for n in range(50_000)]


class Watch:
    """One step that is looked at, with a clock that goes on by `step_s` whenever it is looked at."""

    def __init__(self, key: tuple[str, ...] | None = None, *, step_s: float = 1e-3) -> None:
        self.now, self._step_s = 0.0, step_s
        self._budget = Budget(self._clock)
        self._observed = Observed(key, Sanitizer(), self._budget.tick)

    def _clock(self) -> float:
        self.now += self._step_s
        return self.now

    def see_arguments(self, **arguments: Any) -> None:
        with self._budget.look():
            self._observed.see_arguments(arguments)

    def read_arguments(self, **arguments: Any) -> None:
        with self._budget.look():
            self._observed.read_arguments(arguments)

    def see_result(self, value: Any) -> None:
        with self._budget.look():
            self._observed.see_result(value)

    def infer(self, took_s: float) -> Inferred:
        with self._budget.look(took_s):
            found = self._observed.infer(failed=False)
        assert found is not None
        return found


def test_beyond_2_percent_of_the_step_or_5_ms_it_stops_and_says_how_to_go_on() -> None:
    hasty = Watch()
    hasty.see_arguments(rows=ROWS)
    found = hasty.infer(0.001)
    assert found.related.came_in is None
    assert found.inference is not None
    assert (found.inference["skipped"], found.inference["keys"]) == ("budget", ["id"])
    assert "XRAY_ITEM_KEY=id" in found.inference["note"]
    assert hasty.now < 0.01
    patient = Watch(step_s=1e-4)
    patient.see_arguments(rows=ROWS)
    assert patient.infer(60.0).related.came_in is not None


def test_all_looks_at_one_step_together_take_no_longer() -> None:
    """A quarter of the time goes before the step, another with its result, and what is left does not suffice for the rest."""
    watch = Watch(step_s=0.65e-3)
    watch.see_arguments(rows=[{"id": n} for n in range(5_000)])
    watch.see_result([{"id": n} for n in range(5_000)])
    found = watch.infer(0.0)
    assert found.inference is not None
    assert found.inference["skipped"] == "budget"
    assert watch.now < 0.005 + 4 * 0.65e-3


@pytest.mark.parametrize("rows", [[{"id": n} for n in range(500_000)], pd.DataFrame({"id": ["a"] * 500_000})])
def test_what_would_take_too_long_to_hold_is_not_held_and_nothing_is_said_of_the_others(rows: Any) -> None:
    watch = Watch(step_s=4e-3)
    few = [{"customer_id": n} for n in range(9)]
    watch.see_arguments(rows=rows, again=rows, few=few)
    watch.see_result(few)
    found = watch.infer(60.0)
    assert (found.related.came_in, found.related.came_out) == (None, None)
    assert found.inference is not None
    assert (found.inference["skipped"], found.inference["keys"]) == ("budget", ["id"])
    assert "500,000 items" in found.inference["note"]


def test_a_long_list_that_begins_with_no_id_is_nothing_to_be_said() -> None:
    for values in ([0.5] * 10**6, ["a b"] * 10**6, [None] * 10**6, {str(n): 1 for n in range(10**6)}):
        watch = Watch(step_s=2e-3)
        watch.see_arguments(values=values, rows=ROWS[:9])
        found = watch.infer(0.0)
        assert found.inference is None
        assert found.related.came_in is not None


def test_columns_for_which_there_is_no_time_are_left_out_one_by_one_and_counted() -> None:
    n = 100_000
    frame = pl.DataFrame({"id": range(n), "city": ["Rome"] * n, "price": range(n), "street": ["a"] * n})

    def columns(took_s: float, step_s: float) -> tuple[set[str], int, bool]:
        by = Watch(step_s=step_s)
        by.see_result(frame)
        found = by.infer(took_s)
        assert found.related.came_out is not None
        values = found.related.came_out.values
        return set(values["columns"]), values.get("columns_omitted", 0), "rows" in values

    assert columns(60.0, 1e-6) == ({"city", "price", "street"}, 0, True)
    assert columns(1.0, 1e-6) == ({"price"}, 2, False), "texts would take longer than there is time"
    assert columns(10.0, 0.006) == ({"city", "price"}, 1, False), "the clock is looked at within a column"


def test_few_items_and_a_key_that_the_user_named_are_read_whatever_it_takes() -> None:
    for key, rows in ((None, ROWS[:1_000]), (("id",), ROWS)):
        slow = Watch(key, step_s=1.0)
        slow.see_arguments(rows=rows)
        assert slow.infer(0.0).related.came_in is not None


def test_more_than_a_million_items_are_not_looked_at() -> None:
    step = seen({"rows": pl.DataFrame({"id": range(1_000_001)})}, None)
    assert (step.state["items"], step.state["inference"]["skipped"]) == ({}, "too_many")


def test_it_can_be_switched_off_and_keeps_no_ids_by_name_where_that_is_asked() -> None:
    off = seen({"rows": ROWS[:9]}, ROWS[:3], items="off")
    assert (off.state["items"], off.ledger.known) == ({}, False)
    assert off.state["output"] == {"$type": "list", "size": 3}, "its size is shown"
    hashed = seen({"rows": ROWS[:9]}, ROWS[:3], items="hashed")
    assert (hashed.counts, hashed.sets, hashed.hidden) == ((9, 3, 6), {}, {"in": 9, "out": 3})


def test_addresses_and_secrets_among_ids_are_kept_as_fingerprints_only() -> None:
    token = "ghp_" + "a1B2" * 9
    step = seen({"rows": [{"id": "ann@example.org"}, {"id": token}, {"id": "plain"}]}, [{"id": "plain"}])
    assert (step.sets["in"], step.hidden) == (["plain"], {"in": 2})
    assert step.counts == (3, 1, 2)


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the program's code was run: {name}")


class MyFrame(pd.DataFrame):
    def __getitem__(self, name: Any) -> Any:
        raise AssertionError("the program's code was run")


def test_nothing_lazy_is_touched_and_none_of_the_programs_code_runs() -> None:
    class Lazy(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise AssertionError("this may be a query")

    step = seen({"a": Hostile(), "b": Lazy([1]), "c": pl.DataFrame({"id": [1]}).lazy(), "d": MyFrame({"id": [1]}), "e": iter([1])},
                [Hostile(), Hostile()])  # fmt: skip
    assert step.state["items"] == {}
    assert not step.state["dropped"]


@pytest.mark.parametrize("text", ["nightly=order_id", "nightly/load=", "a,,b"])
def test_a_key_that_is_misspelled_is_refused_at_start_up(text: str) -> None:
    with pytest.raises(ConfigurationError, match="XRAY_ITEM_KEY"):
        load(environ={"XRAY_ITEM_KEY": text})


def test_an_argument_that_holds_collections_is_not_taken_for_one_record_of_them() -> None:
    watch = Watch()
    given = {name: ["red", "blue", "green", "black"] for name in ("first", "second")}
    watch.see_arguments(given=given)
    watch.read_arguments(given=given)
    watch.see_result(["black", "blue", "green", "red"])
    came_in = watch.infer(1.0).related.came_in
    assert came_in is not None
    assert not came_in.values


def test_what_the_user_gives_wins_over_what_is_found() -> None:
    from xray_core import XRay
    from xray_core.testing import capture

    with capture() as captured:
        with XRay("p").run() as run:
            step = run.open_step("load")
            step.observe_inputs({"rows": ROWS[:9]})
            step.set_input_items(["x", "y"])
            step.observe_output(ROWS[:3])
            step.close()
        (state,) = captured._steps("load", None)
    assert (state["items"]["in"]["n"], state["items"]["in"].get("inferred")) == (2, None)
    assert state["items"]["out"]["inferred"] is True
    assert state["input_count"] == 2
