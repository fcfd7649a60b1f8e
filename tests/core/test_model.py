"""Ids that sort and agree, item ids with one spelling, a ledger that always adds up."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xray_core.capture.code_version import code_version_of
from xray_core.model import OUTCOMES, Ledger, derived_id, item_id_text, make_ledger, new_id

counts = st.dictionaries(st.sampled_from(OUTCOMES), st.integers(0, 50))
maybe = st.none() | st.integers(0, 200)


@st.composite
def item_sets(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(0, 60))
    distinct = draw(st.none() | st.integers(min(n, 1), n))
    return {"n": n, "sum": "0", "distinct": distinct, "inferred": draw(st.booleans())}


@given(counts, maybe, maybe, st.dictionaries(st.sampled_from(["in", "out"]), item_sets()), st.booleans())
def test_the_ledger_always_adds_up(
    found: dict[str, int], input_count: int | None, output_count: int | None, items: dict[str, Any], running: bool
) -> None:
    ledger = make_ledger(found, input_count=input_count, output_count=output_count, items=items, running=running)
    parts = (
        ledger.accepted,
        ledger.rejected,
        ledger.not_selected,
        ledger.errored,
        ledger.undecided,
        ledger.unaccounted,
    )
    if ledger.unaccounted is None:
        assert ledger.undecided is None
        assert ledger.input is None or ledger.inferred, "what the user counted is accounted for"
    else:
        assert ledger.input is not None
        assert ledger.input + (ledger.duplicated or 0) == sum(n or 0 for n in parts)
    lost = ledger.unaccounted is not None and ledger.unaccounted > 0
    assert ("unaccounted" in ledger.flags) == (lost and not ledger.inferred)
    assert not (running and lost)
    assert ledger.rejected in (None, found.get("rejected", 0))


@given(counts, st.dictionaries(st.sampled_from(["in", "out"]), item_sets()))
def test_what_an_adapter_inferred_is_never_a_fault(found: dict[str, int], items: dict[str, Any]) -> None:
    inferred = {side: {**each, "inferred": True} for side, each in items.items()}
    assert not {"unaccounted", "contradiction"} & set(make_ledger(found, items=inferred).flags)


def test_what_is_not_known_is_none() -> None:
    assert make_ledger({}) == Ledger()
    assert make_ledger({}, output_count=7).input is None, "what came out is not what went in"
    went_in = make_ledger({}, items={"in": {"n": 124, "sum": "0", "inferred": True}})
    assert (went_in.input, went_in.accepted, went_in.rejected, went_in.unaccounted) == (124, None, None, None)
    assert (went_in.flags, went_in.rejection_rate) == ((), None)


def test_losses_are_not_made_up_for_by_copies() -> None:
    whole = {"n": 40, "sum": "0", "distinct": 40}
    doubled = make_ledger({}, items={"in": whole, "out": {"n": 40, "sum": "1", "distinct": 30}})
    assert (doubled.unaccounted, doubled.duplicated) == (10, 10)
    assert doubled.flags == ("unaccounted", "duplicated")
    rid_of = make_ledger(
        {}, items={"in": {"n": 305, "sum": "0", "distinct": 300}, "out": {"n": 300, "sum": "1", "distinct": 300}}
    )
    assert (rid_of.unaccounted, rid_of.duplicated, rid_of.flags) == (0, -5, ())
    said = make_ledger({"rejected": 5}, items={"in": {"n": 305, "sum": "0", "distinct": 300}, "out": whole})
    assert said.rejected == 5


def test_a_running_step_has_not_decided_yet() -> None:
    running = make_ledger({"rejected": 100}, input_count=1000, running=True)
    assert (running.undecided, running.unaccounted, running.flags) == (900, 0, ())
    ended = make_ledger({"rejected": 100}, input_count=1000)
    assert (ended.undecided, ended.unaccounted, ended.flags) == (0, 900, ("unaccounted",))


def test_the_users_word_wins_over_what_was_inferred() -> None:
    inferred = {"in": {"n": 18, "sum": "0", "inferred": True}, "out": {"n": 7, "sum": "0", "inferred": True}}
    chosen = make_ledger({"selected": 1, "not_selected": 17}, items=inferred)
    assert (chosen.input, chosen.accepted, chosen.unaccounted, chosen.flags) == (18, 1, 0, ())
    assert make_ledger({}, input_count=100, output_count=90, items=inferred).inferred is False
    kept = make_ledger({"rejected": 11}, items=inferred)
    assert (kept.input, kept.accepted, kept.unaccounted) == (18, 7, 0)
    other_items = make_ledger({"rejected": 50}, items=inferred)
    assert (other_items.input, other_items.inferred) == (50, False)


def test_given_counts_that_contradict_the_verdicts_are_kept_and_flagged() -> None:
    ledger = make_ledger({"rejected": 7}, input_count=5)
    assert (ledger.input, ledger.rejected, ledger.unaccounted) == (5, 7, -2)
    assert ledger.flags == ("contradiction",)
    assert make_ledger({"accepted": 9}, output_count=3).flags == ("contradiction",)


def test_items_that_left_without_a_word_are_accepted_and_those_that_did_not_are_unaccounted() -> None:
    ledger = make_ledger({"rejected": 90}, input_count=100, output_count=7)
    assert (ledger.accepted, ledger.unaccounted, ledger.flags) == (7, 3, ("unaccounted",))


def test_a_step_that_makes_items_is_not_a_fault() -> None:
    assert make_ledger({}, input_count=1, output_count=4).flags == ("created",)


def test_ids_sort_by_time_and_do_not_depend_on_the_users_seed() -> None:
    random.seed(1)
    first = new_id()
    random.seed(1)
    second = new_id()
    assert first != second
    assert uuid.UUID(first).version == 7
    assert first[:13] <= second[:13]


def test_processes_derive_the_same_id_for_one_framework_object() -> None:
    known = str(uuid.uuid4())
    assert derived_id("prefect", known) == known
    assert derived_id("airflow", "dag", "run") == derived_id("airflow", "dag", "run")
    assert derived_id("airflow", "dag", "run") != derived_id("airflow", "da", "grun")


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=3))
def test_a_derived_id_is_a_uuid_of_version_5(parts: list[str]) -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "xray/airflow")
    assert derived_id("airflow", *parts) == str(uuid.uuid5(namespace, "\x1f".join(parts)))


@given(st.text())
def test_the_spelling_of_an_item_id_is_its_own_spelling(text: str) -> None:
    spelled = item_id_text(text)
    assert item_id_text(spelled) == spelled
    assert len(spelled) <= 256
    spelled.encode()


def test_a_code_version_is_the_same_in_every_process_and_changes_with_the_code() -> None:
    code = (
        "from xray_core.capture.code_version import code_version_of\n"
        "def f(x): return x in {'a', 'b', 'c', 'd'}\nprint(code_version_of(f))"
    )
    versions = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(versions) == 1
    assert code_version_of(lambda x: x > 100) != code_version_of(lambda x: x > 200)
    assert code_version_of(len) is None
