"""The field that names items: the user's word, else one that looks like an id; never one that names a person.

Tests keys.py and xray_core/item_keys.py.
"""

from __future__ import annotations

import pandas as pd
import pytest

from tests.core.capture.inference.seen import seen
from xray_core.capture.inference.keys import rank_of
from xray_core.objects.sanitize import Sanitizer

SALES = [{"id": n, "order_id": f"o{n}", "line": n % 2, "email": f"{n}@x.org"} for n in range(6)]


@pytest.mark.parametrize(
    ("name", "rank"),
    [("id", 0), ("_id", 0), ("sku", 0), ("order_id", 1), ("orderId", 1), ("product_uuid", 1), ("paid", None), ("email", None),
     ("email_id", None), ("phone", None), ("name", None), ("ssn", None), ("session_id", None), ("api_key", None), ("valid", None)],
)  # fmt: skip
def test_names_of_ids_are_told_from_others_and_from_those_of_persons(name: str, rank: int | None) -> None:
    assert rank_of(name, Sanitizer()) == rank


def test_an_id_is_chosen_before_the_id_of_something() -> None:
    assert seen({}, SALES).state["items"]["out"]["key"] == "id"


def test_the_users_key_wins_over_the_likeliest_one() -> None:
    assert seen({}, SALES, key="order_id").state["items"]["out"]["key"] == "order_id"
    asked = seen({}, SALES, item_key="email")
    assert (asked.ledger.accepted, asked.hidden) == (6, {"out": 6}), "but an address is kept as a fingerprint"


def test_a_setting_may_be_of_one_step_or_pipeline_only() -> None:
    where = "id; nightly/*=order_id; nightly/load=order_id,line"
    assert seen({}, SALES, item_key=where).state["items"]["out"]["key"] == ["order_id", "line"]
    assert seen({}, SALES, item_key="id; weekly/load=order_id").state["items"]["out"]["key"] == "id"
    assert seen({}, SALES, item_key="sku").state["items"]["out"]["key"] == "id", "a key that is not there is no key"


def test_several_fields_make_one_key() -> None:
    rows = [{"order": n // 2, "line": n % 2, "qty": n} for n in range(6)]
    step = seen({"rows": pd.DataFrame(rows)}, rows[2:], key="order,line")
    assert (step.counts, step.sets["out"]) == ((6, 4, 2), ["1|0", "1|1", "2|0", "2|1"])
    assert step.state["items"]["in"]["key"] == ["order", "line"]


def test_where_no_field_tells_rows_apart_the_step_says_which_would_do() -> None:
    step = seen({}, [{"user_id": 1, "page_id": 1}, {"user_id": 1, "page_id": 2}, {"user_id": 2, "page_id": 1}])
    assert step.state["items"] == {}
    assert step.state["inference"]["skipped"] == "ambiguous"
    assert step.state["inference"]["keys"] == ["user_id", "page_id"]
    assert "XRAY_ITEM_KEY=user_id" in step.state["inference"]["note"]


def test_a_source_that_repeats_some_rows_is_known_by_the_field_that_names_nearly_all() -> None:
    rows = [{"order_id": n, "customer_id": n % 9} for n in range(100)]
    step = seen({}, pd.DataFrame([*rows, *rows[:5]]))
    assert (step.state["items"]["out"]["key"], step.ledger.distinct_out) == ("order_id", 100)


def test_an_index_with_a_name_is_a_key() -> None:
    frame = pd.DataFrame({"price": [1, 2, 3]}, index=pd.Index(["a", "b", "c"], name="sku"))
    assert seen({"frame": frame}, frame[1:]).sets == {"in": ["a", "b", "c"], "out": ["b", "c"]}


def test_of_collections_of_other_things_no_key_is_advised_that_only_one_has() -> None:
    users = pd.DataFrame({"user_id": range(4), "country": ["FR", "DE"] * 2})
    events = pd.DataFrame({"event_id": range(9), "user_id": [n % 4 for n in range(9)]})
    inference = seen({}, {"users": users, "events": events}).state["inference"]
    assert inference["note"] == (
        "the result holds 2 collections, and no field tells the 13 rows of all apart; "
        "step.set_output_items(..., key=...) takes one of them"
    )
    pages = [[{"order_id": n, "line_id": line} for n in range(3)] for line in range(2)]
    assert "XRAY_ITEM_KEY=" in seen({}, pages).state["inference"]["note"]
