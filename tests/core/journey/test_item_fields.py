"""`why` shows an item changing on its way: which step changed which of the fields that were kept."""

from __future__ import annotations

from typing import Any

from xray_core import XRay
from xray_core.journey.item_fields import changed
from xray_core.markup import changes_text
from xray_core.testing import Captured, capture


def shop(**settings: Any) -> Captured:
    """Convert, reprice in place, filter: as flows are written, without a line of X-Ray inside."""
    products = [{"sku": f"s{n}", "price": 80 + n, "currency": "EUR"} for n in range(4)]

    def convert(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "price": row["price"] * 2, "currency": "USD"} for row in rows]

    def reprice(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for row in rows:
            row["price"] -= 10
            row["score"] = 0.5
        return rows

    with capture() as captured, XRay("shop", **settings).run(run_id="r") as run:
        rows: Any = products
        for work in (convert, reprice, lambda given: [row for row in given if row["price"] < 155], len):
            step = run.open_step(work.__name__)
            step.observe_inputs({"rows": rows})
            rows = work(rows)
            step.observe_output(rows)
            step.close()
    return captured


def test_the_sentence_and_the_journey_say_which_step_changed_what() -> None:
    why = shop(item_fields="price,currency,score").why("s3")
    assert why.outcome == "dropped"
    assert why.sentence.endswith(
        "; convert changed price 83 -> 166, currency EUR -> USD; reprice changed price 166 -> 156"
    )
    convert, reprice, cheap = why.journey[:3]
    assert convert.changed == {"price": [83, 166], "currency": ["EUR", "USD"]}
    assert (reprice.before, reprice.after) == (
        {"price": 166, "currency": "USD"}, {"price": 156, "currency": "USD", "score": 0.5},
    )  # fmt: skip
    assert (cheap.before, cheap.after, cheap.changed) == ({"price": 156, "currency": "USD", "score": 0.5}, None, None)
    assert "reprice: accepted (price 166 -> 156)" in str(why)
    assert "price 166 -&gt; 156" in why._repr_html_()


def test_where_nobody_asks_for_fields_nothing_is_kept_and_nothing_said() -> None:
    captured = shop()
    assert not [record for record in captured.records if record["kind"] == "samples"]
    why = captured.why("s0")
    assert "changed" not in why.sentence
    assert {(entry.before, entry.after, entry.changed) for entry in why.journey} == {(None, None, None)}


def test_at_capture_level_full_all_fields_are_kept() -> None:
    assert "convert changed price 80 -> 160, currency EUR -> USD" in shop(capture="full").why("s0").sentence


def test_values_of_one_number_are_no_change_and_long_ones_are_cut() -> None:
    assert changed({"a": 1, "b": None, "c": [1]}, {"a": 1.0, "b": None, "c": [1], "d": 2}) is None
    assert changed({"a": 1}, None) is changed(None, {"a": 1}) is None
    assert (
        changes_text({"a": [None, True], "b": ["x" * 99, {"k": 1}]}) == f'a none -> true, b {"x" * 59}… -> {{"k": 1}}'
    )
    assert changes_text({f"f{n}": [n, n + 1] for n in range(7)}).endswith("f4 4 -> 5 and 2 more")
