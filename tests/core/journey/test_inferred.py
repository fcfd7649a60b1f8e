"""Answers that follow from items an adapter found are marked so, and an item is not missed where others are named by another field.

Tests step_evidence.py and conservation.py with what `capture.inference` finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xray_core import XRay
from xray_core.capture.run import Run
from xray_core.testing import Captured, capture

ORDERS = [{"order_id": f"o{n}", "customer_id": f"c{n % 5}", "amount": n} for n in range(12)]
CUSTOMERS = [{"customer_id": f"c{n}"} for n in range(3)]
DOCS = [{"doc_id": f"d{n}"} for n in range(4)]
CHUNKS = [{"chunk_id": f"d{n}.{part}", "doc_id": f"d{n}"} for n in range(3) for part in range(2)]


def run(*steps: tuple[str, Mapping[str, Any], Any]) -> Captured:
    with capture() as captured, XRay("p").run() as opened:
        for name, arguments, result in steps:
            step = opened.open_step(name)
            step.observe_inputs(arguments)
            step.observe_output(result)
            step.close()
    return captured


def pipeline() -> Captured:
    joined = [{**row} for row in ORDERS[2:] if row["customer_id"] in ("c0", "c1", "c2")]
    return run(
        ("load", {}, ORDERS), ("customers", {}, CUSTOMERS), ("cheap", {"rows": ORDERS}, ORDERS[2:]),
        ("enrich", {"orders": ORDERS[2:], "customers": CUSTOMERS}, joined), ("save", {"rows": joined}, len(joined)),
    )  # fmt: skip


def test_for_every_item_that_was_lost_the_step_is_named_and_the_answer_marked() -> None:
    captured = pipeline()
    for item, step in (("o0", "cheap"), ("o1", "cheap"), ("o3", "enrich"), ("o9", "enrich")):
        why = captured.why(item)
        assert (why.outcome, why.step, why.inferred) == ("dropped", step, True), item
        assert "inferred" in why.sentence


def test_nothing_is_blamed_for_what_was_not_lost() -> None:
    captured = pipeline()
    for item in ("o2", "o5", "o10", "c0", "c2"):
        why = captured.why(item)
        assert why.outcome not in ("dropped", "rejected", "never_entered"), why.sentence
    assert captured.gaps() == []


def test_a_document_is_followed_into_its_chunks() -> None:
    captured = run(("load", {}, DOCS), ("split", {"docs": DOCS}, CHUNKS), ("rank", {"chunks": CHUNKS}, CHUNKS[:2]))
    split = {entry.step: entry for entry in captured.why("d1").journey}["split"]
    assert (split.outcome, split.note) == ("accepted", "it went on as d1.0, d1.1")
    assert (captured.why("d3").outcome, captured.why("d3").step) == ("dropped", "split")
    assert (captured.why("d2.1").outcome, captured.why("d2.1").step) == ("dropped", "rank")


def test_what_goes_into_an_aggregate_is_not_dropped_by_it() -> None:
    totals = [{"customer_id": f"c{n}", "total": n} for n in range(5)]
    captured = run(("load", {}, ORDERS), ("total", {"rows": ORDERS}, totals), ("top", {"rows": totals}, totals[:2]))
    assert captured.why("o3").outcome != "dropped"
    assert (captured.why("c4").outcome, captured.why("c4").step) == ("dropped", "top")


def test_every_entry_that_rests_on_items_nobody_gave_is_marked_and_what_the_code_said_is_not() -> None:
    with capture() as captured, XRay("p").run() as opened:
        for name, said in (("load", False), ("check", True), ("rank", False)):
            with opened.step(name) as step:
                step.observe_inputs({"rows": ORDERS})
                if said:
                    step.accept_many([row["order_id"] for row in ORDERS])
                step.observe_output(ORDERS[: None if said else 9])
    kept, lost, never = captured.why("o1"), captured.why("o9"), captured.why("o77")
    assert [entry.inferred for entry in kept.journey] == [True, False, True]
    assert (kept.outcome, kept.inferred) == ("accepted", True)
    assert kept.sentence == "o1 was accepted at rank (nobody said so: it is among what came out)"
    assert (lost.outcome, lost.inferred) == ("dropped", True)
    assert (never.outcome, never.inferred) == ("never_entered", True)


def test_a_step_that_could_not_find_its_items_says_why_in_the_journey() -> None:
    rows = [{"a_id": 1, "b_id": n % 2} for n in range(4)]
    captured = run(("load", {}, ORDERS), ("cross", {"n": 4}, rows))
    (entry,) = [entry for entry in captured.why("o1").journey if entry.step == "cross"]
    assert entry.note == (
        "no single field tells the 4 rows apart; name the key that does, or several with commas: XRAY_ITEM_KEY=a_id"
    )


def test_an_item_of_either_argument_is_followed_into_what_they_became_together() -> None:
    en, de = [{"doc_id": f"e{n}"} for n in range(4)], [{"doc_id": f"g{n}"} for n in range(3)]
    both = [*en[1:], *de[1:]]
    captured = run(("en", {}, en), ("de", {}, de), ("both", {"en": en, "de": de}, both), ("save", {"docs": both}, 5))
    for item in ("e0", "g0"):
        assert (captured.why(item).outcome, captured.why(item).step) == ("dropped", "both"), item
    assert captured.gaps() == []


def test_where_another_argument_may_have_brought_the_item_it_is_not_said_never_to_have_come() -> None:
    rows, further = [{"id": f"a{n}"} for n in range(4)], [{"id": f"b{n}"} for n in range(3)]
    captured = run(("rows", {}, rows), ("further", {}, further), ("but", {"rows": rows, "further": further}, rows[1:]))
    assert (captured.why("a0").step, captured.why("b0").outcome) == ("but", "accepted")
    assert captured.why("b0").certainty == "not_captured"
    assert captured.gaps() == []


def test_ids_that_became_records_are_the_same_items() -> None:
    found = [{"id": n} for n in range(1, 7)]
    captured = run(
        ("ids", {}, list(range(1, 9))),
        ("fetch", {"ids": list(range(1, 9))}, found),
        ("best", {"rows": found}, found[:2]),
    )
    assert [captured.why(n).step for n in (8, 5)] == ["fetch", "best"]


def mapped(opened: Run, name: str, of_each: Sequence[tuple[Mapping[str, Any], Any]]) -> None:
    for index, (arguments, result) in enumerate(of_each):
        step = opened.open_step(name, map_index=index)
        step.observe_inputs(arguments)
        step.observe_output(result)
        step.close()


def test_of_a_task_mapped_over_ids_the_instance_that_gave_nothing_back_is_named() -> None:
    fields = ["title", "by"]
    fetched = [{"id": n, "title": "t"} if n != 3 else None for n in range(1, 6)]
    rows = [row for row in fetched if row]
    with capture() as captured, XRay("p").run() as opened:
        mapped(opened, "ids", [({}, list(range(1, 6)))])
        mapped(opened, "fetch", [({"fields": fields, "story_id": n}, fetched[n - 1]) for n in range(1, 6)])
        mapped(opened, "keep", [({"rows": fetched}, rows[:2])])
    why = captured.why(3)
    assert (why.outcome, why.step, why.inferred) == ("dropped", "fetch", True), why.sentence
    assert [entry.path for entry in why.journey if entry.step == "fetch"] == ["fetch[2]"]
    assert (captured.why(4).step, captured.why(1).outcome) == ("keep", "accepted")
    assert captured.why("title").outcome != "dropped"


def test_what_one_of_two_branches_left_out_and_the_other_let_through_is_not_lost() -> None:
    rows = [{"id": n} for n in range(1, 9)]
    with capture() as captured, XRay("p").run() as opened:
        load = opened.open_step("load")
        load.observe_output(rows)
        load.close()
        ids = []
        for name, half in (("odd", rows[::2]), ("even", rows[1::2])):
            step = opened.open_step(name, upstream=[load.step_id])
            step.observe_inputs({"rows": rows})
            step.observe_output(half)
            step.close()
            ids.append(step.step_id)
        both = opened.open_step("both", upstream=ids)
        both.observe_inputs({"odd": rows[::2], "even": rows[1::2]})
        both.observe_output(rows[2:])
        both.close()
    assert [(captured.why(n).step, captured.why(n).outcome) for n in (1, 2)] == [("both", "dropped")] * 2
    assert captured.why(5).outcome == captured.why(6).outcome == "accepted"
    assert captured.gaps() == []


def routed(
    opened: Run, rows: Sequence[Mapping[str, Any]], ways: Mapping[str, Any], report: Mapping[str, Any]
) -> dict[str, str]:
    """A step, several that take all of its items and keep some each, and one that is given these and puts out no items."""
    load = opened.open_step("load")
    load.observe_output(rows)
    load.close()
    ids = {}
    for name, result in ways.items():
        step = opened.open_step(name, upstream=[load.step_id])
        step.observe_inputs({"rows": rows})
        step.observe_output(result)
        step.close()
        ids[name] = step.step_id
    last = opened.open_step("report", upstream=list(ids.values()))
    last.observe_inputs(report)
    last.observe_output(len(rows))
    last.close()
    return ids


def test_an_item_that_took_one_of_several_routes_is_not_lost_on_the_others() -> None:
    rows = [{"trip_id": n, "zone": n % 4} for n in range(12)]
    ways = {f"zone_{zone}": [row for row in rows if row["zone"] == zone] for zone in range(3)}
    with capture() as captured, XRay("p").run() as opened:
        routed(opened, rows, ways, ways)
    for item in (0, 1, 2):
        why = captured.why(item)
        assert (why.step, why.outcome, why.certainty) == ("report", "not_captured", "not_captured"), why.sentence
    why = captured.why(3)
    assert (why.outcome, why.certainty, why.inferred) == ("dropped", "exact", True)
    assert "dropped at zone_2 without a reason (nor did it come out of zone_0, zone_1)" in why.sentence


def test_a_step_that_was_given_all_items_beside_those_that_a_filter_kept_clears_no_filter() -> None:
    rows = [{"id": n} for n in range(8)]
    with capture() as captured, XRay("p").run() as opened:
        steps: dict[str, str] = {}
        for name, after, given, result in (
            ("load", (), {}, rows),
            ("cheap", ("load",), {"rows": rows}, rows[:5]),
            ("summary", ("load", "cheap"), {"rows": rows, "kept": rows[:5]}, {"lost": 3}),
        ):
            step = opened.open_step(name, upstream=[steps[each] for each in after])
            step.observe_inputs(given)
            step.observe_output(result)
            step.close()
            steps[name] = step.step_id
    why = captured.why(7)
    assert (why.step, why.outcome, why.inferred) == ("cheap", "dropped", True), why.sentence


def test_an_item_that_went_on_from_its_route_is_followed_and_the_other_routes_are_not_blamed() -> None:
    rows = [{"id": n} for n in range(9)]
    ways = {name: rows[at::3] for at, name in enumerate("abc")}
    with capture() as captured, XRay("p").run() as opened:
        ids = routed(opened, rows, ways, ways)
        step = opened.open_step("best", upstream=[ids["a"]])
        step.observe_inputs({"a": ways["a"]})
        step.observe_output(ways["a"][1:])
        step.close()
    assert [(captured.why(n).step, captured.why(n).outcome) for n in (0, 3)] == [
        ("best", "dropped"),
        ("best", "accepted"),
    ]


def test_where_no_step_took_what_one_route_let_through_the_answer_names_that_route_in_either_order() -> None:
    rows = [{"id": n} for n in range(4)]
    for ways in ({"kept": rows[:2], "features": rows}, {"features": rows, "kept": rows[:2]}):
        with capture() as captured, XRay("p").run() as opened:
            routed(opened, rows, ways, {"kept": rows[:2]})
        why = captured.why(3)
        assert (why.step, why.outcome) == ("kept", "dropped"), why.sentence
        assert "(though features accepted it)" in why.sentence
        assert captured.why(1).step == "report"


def test_what_went_into_a_step_that_puts_out_no_items_is_not_lost_there() -> None:
    rows = [{"id": n} for n in range(6)]
    with capture() as captured, XRay("p").run() as opened:
        split = opened.open_step("split")
        split.observe_output(rows)
        split.close()
        before = [split.step_id]
        for name, given, result in (("archive", rows[:2], 2), ("notify", rows[2:], None)):
            step = opened.open_step(name, upstream=before)
            step.observe_inputs({"rows": given})
            step.observe_output(result)
            step.close()
            before.append(step.step_id)
    why = captured.why(1)
    assert (why.outcome, why.step, why.certainty) == ("not_captured", "archive", "not_captured"), why.sentence
    assert "1 entered archive and never reached notify" in why.sentence


def test_ids_that_went_in_beside_records_are_not_said_to_have_been_lost_before() -> None:
    rows = [{"sku": f"k{n}"} for n in range(9)]
    ids = [row["sku"] for row in rows[6:]]
    steps = [("load", {}, rows), ("cheap", {"rows": rows[:6]}, rows[:4]), ("sold_out", {"rows": rows[6:]}, ids)]
    why = run(*steps, ("page", {"offers": rows[:4], "backorder": ids}, {"n": 4})).why("k7")
    assert (why.outcome, why.certainty) == ("accepted", "not_captured"), why.sentence
    why = run(*steps, ("page", {"offers": rows[:4], "columns": ["price", "stock"]}, {"n": 4})).why("k7")
    assert (why.outcome, why.certainty) == ("dropped", "exact"), why.sentence


def test_what_was_for_a_step_that_was_skipped_is_not_lost() -> None:
    rows = [{"id": n} for n in range(1, 9)]
    with capture() as captured, XRay("p").run() as opened:
        split = opened.open_step("split")
        split.observe_output(rows)
        split.close()
        for name, given in (("check", rows[:4]), ("rest", None)):
            step = opened.open_step(name, upstream=[split.step_id])
            if given is not None:
                step.observe_inputs({"rows": given})
            step.close("completed" if given is not None else "skipped")
    why = captured.why(7)
    assert (why.outcome, why.certainty, why.unasked) == ("accepted", "not_captured", ["rest"])
    assert "check never had it, and rest, which may have been to get it, was skipped" in why.sentence
    assert captured.gaps() == []
