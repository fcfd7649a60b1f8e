"""What became of items is told from arguments and results alone; nothing is said to be lost that was not.

Tests capture/collections.py, capture/inference/relation.py, union.py and writing.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.core.capture.inference.seen import seen

ORDERS = [{"order_id": f"o{n}", "customer_id": f"c{n % 7}", "amount": n} for n in range(30)]
CUSTOMERS = [{"customer_id": f"c{n}", "segment": "vip"} for n in range(5)]
DOCS = [{"doc_id": f"d{n}", "text": "..."} for n in range(4)]
CHUNKS = [{"chunk_id": f"d{n}-{part}", "doc_id": f"d{n}"} for n in range(3) for part in range(2)]


@pytest.mark.parametrize(
    "make", [list, pd.DataFrame, pl.DataFrame, pa.Table.from_pylist], ids=["dicts", "pandas", "polars", "arrow"]
)
def test_rows_that_do_not_come_out_are_found_whatever_holds_them(make: Any) -> None:
    step = seen({"rows": make(ORDERS), "minimum": 10}, make(ORDERS[10:]))
    assert (step.relation, step.counts) == ("filter", (30, 20, 10))
    assert step.sets["in"] == [row["order_id"] for row in ORDERS]
    assert step.sets["out"] == [row["order_id"] for row in ORDERS[10:]]
    assert step.state["items"]["in"]["key"] == "order_id"
    assert step.state["items"]["in"]["source"] == "rows"
    assert step.ledger.inferred
    assert step.ledger.flags == ()


def test_a_join_is_about_what_is_unique_in_its_result() -> None:
    orders, customers = pd.DataFrame(ORDERS), pd.DataFrame(CUSTOMERS)
    step = seen({"customers": customers, "orders": orders}, orders.merge(customers, on="customer_id"))
    assert (step.relation, step.state["items"]["in"]["source"]) == ("joined", "orders")
    assert step.counts == (30, 22, 8)
    other = step.state["items"]["others"]["customers"]
    assert (other["key"], other["n"]) == ("customer_id", 5)


WEB = [{"lead_id": f"w{n}", "score": n} for n in range(6)]
SHOP = [{"lead_id": f"s{n}", "score": n} for n in range(4)]


@pytest.mark.parametrize("make", [list, pd.DataFrame, pl.DataFrame], ids=["dicts", "pandas", "polars"])
def test_arguments_that_came_out_together_went_in_together(make: Any) -> None:
    step = seen({"web": make(WEB), "shop": make(SHOP), "limit": 3}, make([*WEB[3:], *SHOP[3:]]))
    assert (step.relation, step.counts) == ("filter", (10, 4, 6))
    assert step.sets["in"] == [row["lead_id"] for row in (*WEB, *SHOP)]
    assert (step.state["items"]["in"]["source"], "others" in step.state["items"]) == ("web, shop", False)
    assert step.state["items"]["in"]["columns"]["score"]["total"] == 21


def test_what_several_arguments_hold_went_in_once_and_what_comes_out_twice_is_doubled() -> None:
    assert seen({"a": WEB, "b": [*WEB[3:], *SHOP]}, [*WEB, *SHOP]).counts == (10, 10, 0)
    twice = seen({"a": WEB, "b": WEB[3:], "c": SHOP}, [*WEB, *WEB[3:], *SHOP])
    assert (twice.counts, twice.ledger.duplicated) == ((13, 13, 0), 0)


def test_an_argument_of_which_nothing_came_out_is_not_said_to_be_lost() -> None:
    step = seen({"leads": WEB, "blocked": [*WEB[:2], *SHOP]}, WEB[2:])
    assert (step.counts, step.state["items"]["others"]["blocked"]["beyond"]) == ((6, 4, 2), 4)
    assert seen({"leads": WEB, "blocked": [*WEB, *SHOP]}, []).counts == (6, 0, 6)


def test_all_arguments_that_hold_the_same_kind_of_items_go_into_a_step_that_lets_none_out() -> None:
    assert seen({"a": WEB, "b": SHOP}, 10).counts == (10, None, None)
    assert seen({"ids": ["w1", "w2"], "more": ["s1", "s2"]}, ["w1", "s2"]).counts == (4, 2, 2)
    days = [pd.DataFrame([{"order_id": f"{day}-{n}", "customer_id": n % 3} for n in range(5)]) for day in range(2)]
    sums = pd.concat(days).groupby("customer_id", as_index=False).agg(n=("order_id", "count"))
    step = seen({"one": days[0], "two": days[1]}, sums)
    assert (step.relation, step.counts) == ("aggregated", (10, 3, None))


def test_a_join_that_multiplies_rows_loses_none() -> None:
    orders = pd.DataFrame(ORDERS)
    step = seen({"orders": orders}, pd.concat([orders, orders[:10]]))
    assert (step.ledger.unaccounted, step.ledger.duplicated, step.ledger.flags) == (0, 10, ("duplicated",))


def test_taking_out_copies_loses_none() -> None:
    step = seen({"orders": [*ORDERS, *ORDERS[:3]]}, ORDERS)
    assert (step.counts, step.ledger.duplicated) == ((33, 30, 0), -3)


def test_another_order_is_a_ranking_and_the_first_of_it_a_selection() -> None:
    assert seen({"rows": ORDERS}, ORDERS[::-1]).relation == "rank"
    assert seen({"rows": ORDERS}, [{**row, "x": 1} for row in ORDERS]).relation == "transform"
    assert seen({"query": "best", "rows": ORDERS}, ORDERS[2]).counts == (30, 1, 29)


def test_chunks_of_documents_are_other_items_and_know_their_parents() -> None:
    step = seen({"docs": DOCS}, CHUNKS)
    assert (step.relation, step.counts) == ("expanded", (4, 6, None))
    assert step.state["items"]["links"][:2] == [["d0", "d0-0"], ["d0", "d0-1"]]
    assert step.state["items"]["others"]["parents"]["distinct"] == 3
    one_name = seen(
        {"docs": [{"id": doc["doc_id"]} for doc in DOCS]},
        [{"id": c["chunk_id"], "doc_id": c["doc_id"]} for c in CHUNKS],
    )
    assert (one_name.relation, one_name.counts[2]) == ("expanded", None)


def test_sums_per_customer_are_other_items_than_orders() -> None:
    orders = pd.DataFrame(ORDERS)
    step = seen({"orders": orders}, orders.groupby("customer_id", as_index=False).amount.sum())
    assert (step.relation, step.counts) == ("aggregated", (30, 7, None))
    assert step.state["items"]["out"]["key"] == "customer_id"


def test_one_record_is_one_item() -> None:
    step = seen({"row": {"id": "u1", "age": 3, "income": 4}}, {"id": "u1", "p": 0.5})
    assert step.counts == (1, 1, 0)
    assert step.sets == {"in": ["u1"], "out": ["u1"]}


def test_a_list_of_ids_is_a_selection_only_if_all_of_them_went_in() -> None:
    assert seen({"a": [1, 2, 3, 4], "b": [1, 2, 3]}, [1, 2, 3]).counts == (4, 3, 1)
    assert seen({"a": [1, -2, 3]}, [2, 6]).counts == (None, 2, None), "doubled numbers are no lost items"
    assert seen({"ids": ["o1", "o2", "gone"]}, ORDERS[1:3]).counts == (3, 2, 1)
    assert seen({"rows": [{"id": n} for n in range(9)]}, [3, 7]).counts[2] is None, "two numbers, it may be by chance"


def test_text_and_number_of_one_id_are_one_item() -> None:
    step = seen({"rows": [{"id": 1}, {"id": 2}]}, [{"id": "2"}])
    assert (step.counts, step.sets["out"]) == ((2, 1, 1), ["2"])


def test_several_results_are_taken_together() -> None:
    assert seen({"rows": ORDERS}, ORDERS[:10], ORDERS[10:]).counts == (30, 30, 0)
    frame = pd.DataFrame(ORDERS)
    assert seen({"rows": frame}, (frame[:10], frame[10:25])).counts == (30, 25, 5)
    assert seen({"mapped": [[ORDERS[0]], [ORDERS[1]]]}, [ORDERS[1]]).counts == (2, 1, 1)


def test_nothing_left_of_a_list_is_a_loss_and_an_empty_list_beside_a_frame_is_not() -> None:
    assert seen({"rows": ORDERS}, []).counts == (30, 0, 30)
    assert seen({"rows": pd.DataFrame(ORDERS)}, pd.DataFrame(ORDERS)[:0]).counts == (30, 0, 30)
    assert seen({"rows": pd.DataFrame(ORDERS)}, []).counts == (30, None, None), "a list of messages, perhaps"


def test_the_items_of_a_step_that_fails_have_entered_it() -> None:
    step = seen({"rows": ORDERS}, error=ValueError("no"))
    assert (step.counts, step.sets["in"][:2]) == ((30, None, None), ["o0", "o1"])


@dataclasses.dataclass
class Row:
    id: int
    secret: str = "s"


def test_what_the_program_does_to_its_arguments_meanwhile_does_not_show() -> None:
    frame, rows = pd.DataFrame(ORDERS), list(ORDERS)

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            del value[10:]
        else:
            value["amount"] = 0
            value.loc[value.index[10:], "order_id"] = "other"
            return value[:10]
        return value

    for value in (frame, rows):
        step = _around(value, changed)
        assert step == (30, 10, 20)


def _around(value: Any, change: Any) -> Any:
    from xray_core import XRay
    from xray_core.testing import capture

    with capture() as captured:
        with XRay("p").run() as run:
            step = run.open_step("load")
            step.observe_inputs({"rows": value})
            step.observe_output(change(value))
            step.close()
        ledger = captured.ledger("load")
    return ledger.input, ledger.accepted, ledger.unaccounted


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=4)
    | st.complex_numbers()
)
_not_items = st.recursive(
    _scalars,
    lambda inner: (
        st.dictionaries(st.sampled_from(["mean", "n", "answer", "tokens"]), inner, max_size=4)
        | st.lists(st.floats() | st.booleans() | st.none(), min_size=1, max_size=4)
    ),
    max_leaves=6,
)


@example(result={"train": {"loss": 0.1}, "test": {"loss": 0.2}}, arguments={"a": {"train": {"loss": 0.3}, "test": {}}})
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(result=_not_items, arguments=st.dictionaries(st.sampled_from(["a", "b", "n"]), _not_items, max_size=3))
def test_what_holds_no_items_has_no_ledger(result: Any, arguments: dict[str, Any]) -> None:
    alone, after_orders = seen(arguments, result), seen({**arguments, "rows": ORDERS}, result)
    assert not alone.ledger.known
    assert (alone.sets, alone.state["items"]) == ({}, {})
    assert after_orders.counts == (30, None, None)
    for step in (alone, after_orders):
        assert (step.ledger.rejected, step.ledger.rejection_rate, step.ledger.flags) == (None, None, ())
