"""Parts into one state: in any order, however often each comes, and the short way for one part as the long one."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xray_core import merge
from xray_core.model import NOT_REACHED

_small = st.integers(0, 9)
_word = st.sampled_from(["a", "b", ""])
_outcome = st.sampled_from(["accepted", "rejected"])
_json = st.none() | _small | st.dictionaries(_word, _small, max_size=2)
_end = st.none() | st.tuples(st.floats(0, 9), _word).map(list)
_hex = st.sampled_from(["0", "ff", "FFFFFFFFFFFFFFFF"])
_number = st.floats(-1e6, 1e6)
_column = st.fixed_dictionaries(
    {"n": _small},
    optional={
        "sum": st.none() | _hex, "nulls": _small, "min": _number, "max": _number, "total": _number, "abs": _number,
        "proj": st.none() | st.tuples(_number, _number).map(list),
    },
)  # fmt: skip
_columns = st.none() | st.dictionaries(_word, _column, max_size=3)
_item_set = st.fixed_dictionaries(
    {"n": _small, "sum": _hex},
    optional={
        "order": st.none() | _hex, "distinct": st.none() | _small, "nulls": _small, "key": st.none() | _word, "inferred": st.booleans(),
        "source": st.none() | _word, "rows": st.none() | _hex, "columns": _columns, "columns_omitted": _small,
    },
)  # fmt: skip
_items = st.fixed_dictionaries(
    {},
    optional={
        "in": st.none() | _item_set, "out": st.none() | _item_set, "others": st.dictionaries(_word, _item_set, max_size=2),
        "links": st.lists(st.tuples(_word, _word).map(list), max_size=2),
    },
)  # fmt: skip
_part = st.fixed_dictionaries(
    {},
    optional={
        "part": _word, "rev": _small, "pipeline": st.none() | _word, "name": st.none() | _word, "step_type": st.none() | _word,
        "status": st.sampled_from([None, "running", "completed", "failed", "skipped"]), "index": st.none() | _small,
        "started_us": st.none() | _small, "ended_us": st.none() | _small, "duration_us": st.none() | _small,
        "upstream": st.none() | st.lists(_word, max_size=3), "map_index": st.none() | _small, "error": st.none() | st.just({"type": "E"}),
        "counts": st.none() | st.dictionaries(_outcome, _small), "dropped": st.none() | st.dictionaries(_word, _small),
        "reasons": st.none() | st.dictionaries(_outcome, st.dictionaries(_word, _small)),
        "sums": st.none() | st.dictionaries(_outcome, st.dictionaries(_word, st.sampled_from(["0", "ff", "FFFFFFFFFFFFFFFF"]))),
        "items": st.none() | _items, "score_sums": st.none() | st.dictionaries(_outcome, _column),
        "orders": st.none() | st.dictionaries(_outcome, st.none() | _hex), "relation": st.none() | st.sampled_from(["filter", "rank"]),
        "inference": st.none() | st.just({"skipped": "budget"}),
        "scores": st.none() | st.dictionaries(_outcome, st.dictionaries(st.sampled_from(["min", "max"]), _end)),
        "input_count": st.none() | _small, "output_count": st.none() | _small, "input": _json, "output": _json, "input_fp": _json,
        "output_fp": _json, "metadata": st.none() | st.dictionaries(_word, _json), "sampling": _json, "capture": st.none() | _word,
        "origin": st.none() | st.dictionaries(st.sampled_from(["framework", "url", "state"]), st.none() | _word)
        | st.just({"ids": None, "kind": "x"}) | st.just({"ids": {"a": 1}}),
        "decisions": st.none() | st.lists(st.fixed_dictionaries({"at_us": st.none() | _small, "n": _small}), max_size=4),
    },
)  # fmt: skip


@given(_part)
def test_one_part_alone_is_what_the_merge_makes_of_it(part: dict[str, Any]) -> None:
    short, whole = merge._only_step(part), merge._merged_step([part])
    assert short == whole
    assert short.keys() == whole.keys()


@given(_part)
def test_the_state_of_a_step_shares_nothing_that_can_change_with_its_part(part: dict[str, Any]) -> None:
    state = merge.merge_step([part])
    for name in ("counts", "reasons", "metadata", "dropped", "items", "sums", "scores"):
        assert state[name] is not part.get(name) or part.get(name) is None


@given(st.lists(_part, min_size=1, max_size=5), st.randoms())
def test_parts_merge_to_one_state_in_any_order(parts: list[dict[str, Any]], random: Random) -> None:
    parts = [{**part, "part": str(number)} for number, part in enumerate(parts)]
    shuffled = parts[:]
    random.shuffle(shuffled)
    assert merge.merge_step(parts) == merge.merge_step(shuffled)


@given(st.lists(_part, min_size=1, max_size=4), st.randoms())
def test_of_one_part_said_again_the_newest_counts(revisions: list[dict[str, Any]], random: Random) -> None:
    revisions = [{**part, "part": "one"} for part in revisions]

    def kept(order: list[dict[str, Any]]) -> Any:
        found = None
        for part in order:
            found = merge.newest(found, part)
        return found

    again = [*revisions, *revisions]
    random.shuffle(again)
    assert kept(again) == kept(revisions)


def test_what_several_processes_saw_of_one_set_adds_up_and_says_no_more_than_all_of_them_know() -> None:
    column = {"n": 2, "sum": "1", "nulls": 1, "min": 1.0, "max": 1.0, "total": 1.0, "abs": 1.0, "proj": [0.5, -0.5]}
    one = {"n": 2, "sum": "ffffffffffffffff", "order": "a", "distinct": 2, "key": "id", "source": "rows", "rows": "1",
           "columns": {"price": column, "city": {"n": 2, "sum": "5"}}}  # fmt: skip
    other = {**one, "sum": "2", "source": "df", "columns": {"price": {**column, "min": -3.0}}}
    merged = merge.merge_step([{"part": str(n), "items": {"out": each}} for n, each in enumerate((one, other))])
    out = merged["items"]["out"]
    assert (out["n"], out["sum"], out["order"], out["distinct"]) == (4, f"{1:016x}", None, None)
    assert (out["key"], out["source"], out["rows"], out["inferred"]) == ("id", None, f"{2:016x}", False)
    assert out["columns"] == {
        "price": {
            "n": 4,
            "sum": f"{2:016x}",
            "nulls": 2,
            "min": -3.0,
            "max": 1.0,
            "total": 2.0,
            "abs": 2.0,
            "proj": [1.0, -1.0],
        }
    }
    assert out["columns_omitted"] == 1, "of the city only half of the items told"


def test_what_was_said_of_items_wins_over_what_was_inferred() -> None:
    said, inferred = {"n": 3, "sum": "1"}, {"n": 9, "sum": "2", "inferred": True}
    for order in ((said, inferred), (inferred, said)):
        merged = merge.merge_step([{"part": str(n), "items": {"in": each}} for n, each in enumerate(order)])
        assert merged["items"]["in"] == said


def test_items_that_each_process_gave_are_counted_together() -> None:
    parts = [{"part": str(n), "input_count": 3, "items": {"in": {"n": 3, "sum": "1"}}} for n in range(2)]
    assert merge.merge_step(parts)["input_count"] == 6
    parts[0]["input_count"] = 10
    assert merge.merge_step(parts)["input_count"] == 3, "a count is no number of items given"


def test_an_order_is_known_only_where_one_part_said_all_of_it() -> None:
    alone = {"part": "a", "counts": {"accepted": 2}, "orders": {"accepted": "aa"}}
    assert merge.merge_step([alone, {"part": "b", "counts": {"rejected": 1}}])["orders"] == {"accepted": "aa"}
    assert merge.merge_step([alone, {"part": "b", "counts": {"accepted": 1}}])["orders"] == {}


def test_that_nothing_was_captured_is_said_only_where_no_part_was() -> None:
    events = {"part": "a", "status": "completed", "metadata": {NOT_REACHED: "not enabled there", "rows": 3}}
    captured = {"part": "b", "status": "completed", "counts": {"rejected": 2}}
    assert merge.merge_step([events])["metadata"] == {NOT_REACHED: "not enabled there", "rows": 3}
    assert merge.merge_step([events, {**events, "part": "c"}])["metadata"][NOT_REACHED] == "not enabled there"
    for parts in ([events, captured], [captured, events]):
        assert merge.merge_step(parts)["metadata"] == {"rows": 3}
