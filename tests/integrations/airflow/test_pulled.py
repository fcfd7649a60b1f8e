"""What a task pulls out of a lazy sequence is noted as it is pulled: nothing is read for it, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from xray_airflow import pulled

from tests.core.capturing import Captured
from tests.integrations import unchanged as work

ROWS = [{"id": f"u{n}", "p": n / 10} for n in range(5)]


class LazyXComSequence(Sequence[Any]):
    """Airflow's, without its requests: each access is counted. The real one: test_unchanged.py."""

    def __init__(self) -> None:
        self.requests = 0

    def __len__(self) -> int:
        self.requests += 1
        return len(ROWS)

    def __getitem__(self, key: Any) -> Any:
        self.requests += 1
        return ROWS[key]


@pytest.fixture(autouse=True)
def unwatched() -> Iterator[None]:
    yield
    pulled.unwatch()


def test_values_are_in_the_order_of_the_sequence_however_they_are_pulled() -> None:
    lazy = LazyXComSequence()
    noted = pulled.watch({"rows": lazy, "limit": 3})
    assert list(noted) == ["rows"]
    assert (lazy[4], lazy[1:3], lazy[-1], lazy[::2]) == (ROWS[4], ROWS[1:3], ROWS[4], ROWS[::2])
    assert noted["rows"].values == [ROWS[1], ROWS[2], ROWS[4]], "from the end, or in strides: the place is not known"
    assert list(lazy) == ROWS
    assert noted["rows"].values == ROWS
    assert lazy.requests == 4 + 1 + len(ROWS) + 1, "what the task asked for, list() asking for the length too"
    with pytest.raises(IndexError):
        lazy[99]


def test_other_sequences_and_those_of_a_task_that_ended_are_left_alone() -> None:
    lazy, other = LazyXComSequence(), LazyXComSequence()
    noted = pulled.watch({"rows": lazy})
    list(other)
    assert noted["rows"].values == []
    pulled.unwatch()
    list(lazy)
    assert noted["rows"].values == []


def captured_of(work_of: Any, **settings: Any) -> Captured:
    """A task that is handed a lazy sequence, as task.py captures it."""
    lazy, captured = LazyXComSequence(), Captured(**settings)
    with captured.run() as run, run.step("above") as step:
        step.observe_inputs({"rows": lazy})
        noted = pulled.watch({"rows": lazy})
        result = work_of(lazy)
        step.observe_pulled("rows", noted["rows"].values)
        step.observe_output(result)
    return captured


def test_what_was_pulled_went_in_and_what_was_not_is_named_as_not_known() -> None:
    items = captured_of(lambda rows: work.above(rows, 0.25)).step("above")["items"]
    assert (items["in"]["n"], items["in"]["source"], items["out"]["n"]) == (5, "rows", 2)
    some = captured_of(lambda rows: [rows[0], rows[1]]).step("above")
    assert (some["items"]["in"]["n"], some["items"]["out"]["n"]) == (2, 2)
    none = captured_of(lambda rows: ROWS[:1]).step("above")
    assert "in" not in none["items"]
    assert (none["inference"]["skipped"], none["relation"]) == ("lazy", None)
    assert none["inference"]["note"].startswith("rows is a LazyXComSequence, which is never read here")


def test_what_pulled_items_held_before_is_not_known_since_the_task_may_have_changed_them() -> None:
    def reprice(rows: Any) -> list[dict[str, Any]]:
        pulled_rows = [{**row} for row in rows]
        for row in rows:
            row["seen"] = True
        return pulled_rows

    captured = captured_of(reprice, item_fields="p,seen")
    assert {sample["outcome"] for sample in captured.samples()} == {"out"}
    assert captured.step("above")["items"]["in"]["n"] == 5


class Instance:
    """A task instance as far as pulling goes. The real one: test_own_suite.py."""

    def xcom_pull(self, task_ids: Any = None, *, key: str = "return_value") -> Any:
        return {"load": ROWS, "meta": 3}.get(key if key != "return_value" else task_ids)


def fetching(watched: Instance, pulls: Any) -> Any:
    captured = Captured()
    with captured.run() as run, run.step("above") as step:
        step.observe_inputs({"limit": 1})
        pulled.watch_xcoms(watched, step.observe_further)
        step.observe_output(pulls(watched))
        pulled.unwatch()
    return captured.step("above")


def test_what_a_task_pulls_by_hand_went_in_as_its_arguments_did() -> None:
    def pulls(ti: Instance) -> Any:
        assert (ti.xcom_pull(task_ids="load", key="meta"), Instance().xcom_pull("load")) == (3, ROWS)
        return ti.xcom_pull("load")[:2] + ti.xcom_pull("load")[:0]

    step = fetching(Instance(), pulls)
    assert list(step["input"]) == ["limit", "xcom.load.meta", "xcom.load"]
    assert step["items"]["in"]["source"] == "xcom.load"
    assert (step["items"]["in"]["n"], step["items"]["out"]["n"], step["relation"]) == (5, 2, "filter")
    other = fetching(Instance(), lambda ti: ti.xcom_pull("load")[:2])
    assert step["input_fp"]["exact"] != other["input_fp"]["exact"]
    assert not step["input_fp"]["partial"]
    assert other["input_fp"] == fetching(Instance(), lambda ti: ti.xcom_pull("load")[:1])["input_fp"]
