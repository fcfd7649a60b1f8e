"""Documents of every release read as the states they meant, and what was not known then reads as not known."""

from __future__ import annotations

import msgspec
from xray_server.records import states
from xray_server.records.documents import STEP_FIELDS, step_values
from xray_server.records.schema import Column, Items, ItemSet, StepRecord

FIELDS_OF_0_1 = 32


def test_a_document_of_the_first_release_reads_as_before() -> None:
    record = StepRecord(
        v=1, run_id="r", step_id="s", status="completed", counts={"rejected": 2}, input_count=5, output_count=3
    )
    whole = step_values(record)
    assert whole[FIELDS_OF_0_1:] == [None] * (len(STEP_FIELDS) - FIELDS_OF_0_1), "what came later stands at the end"
    old = states.step_state([states.step_part("a", whole[:FIELDS_OF_0_1])])
    assert old == states.step_state([states.step_part("a", whole)])
    assert old.values["score_sums"] == {}
    assert old.values["relation"] is None


def test_what_is_known_of_items_comes_back_from_a_document_as_it_went_in() -> None:
    price = Column(2, "1f", min=1.5, max=2, total=3.5, abs=3.5, proj=(0.5, -1.0))
    given = ItemSet(
        2,
        "ff",
        "0a",
        distinct=2,
        nulls=1,
        key=["order_id", "line"],
        inferred=True,
        source="df",
        rows="ab",
        columns={"price": price},
    )
    record = StepRecord(
        v=1, run_id="r", step_id="s", status="completed", items=Items(in_=given, others={"customers": ItemSet(1, "1")}, links=[("d", "c")]),
        score_sums={"accepted": price}, orders={"accepted": "0a"}, relation="joined", inference={"skipped": "budget"},
    )  # fmt: skip
    values = states.drop_empty(step_values(record))
    columns = [None, None, None, "completed", None, None, None]
    state = states.step_state(
        [states.step_part("a", states.restore_columns(states.elide_columns(values, columns), columns))]
    ).values
    assert state["items"] == msgspec.json.decode(msgspec.json.encode(record.items))
    assert state["items"]["in"]["columns"]["price"]["proj"] == [0.5, -1.0]
    assert (state["relation"], state["inference"]) == ("joined", {"skipped": "budget"})
    assert state["orders"] == {"accepted": "0a"}


def test_the_flags_of_a_row_say_which_of_its_figures_are_known() -> None:
    def bits(**fields: object) -> int:
        return states.step_state([{"part": "a", "status": "completed", **fields}]).flag_bits

    assert bits() == states.INPUT_UNKNOWN | states.OUTPUT_UNKNOWN
    assert bits(output_count=3) == states.INPUT_UNKNOWN
    assert bits(input_count=3, output_count=3) == 0
    assert bits(items={"in": {"n": 3, "sum": "0", "inferred": True}}) == states.OUTPUT_UNKNOWN
