"""Ids that sort and agree, item ids with one spelling, a ledger that always adds up."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid

from hypothesis import given
from hypothesis import strategies as st

from xray_core.capture.code_version import code_version_of
from xray_core.model import OUTCOMES, derived_id, item_id_text, make_ledger, new_id

counts = st.dictionaries(st.sampled_from(OUTCOMES), st.integers(0, 50))
maybe = st.none() | st.integers(0, 200)


@given(counts, maybe, maybe)
def test_the_ledger_always_adds_up(found: dict[str, int], input_count: int | None, output_count: int | None) -> None:
    ledger = make_ledger(found, input_count=input_count, output_count=output_count)
    parts = ledger.accepted + ledger.rejected + ledger.not_selected + ledger.errored + ledger.unaccounted
    assert ledger.input == parts
    assert (ledger.unaccounted > 0) == ("unaccounted" in ledger.flags)
    assert ledger.rejected == found.get("rejected", 0)
    if input_count is None:
        assert ledger.unaccounted == 0


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
