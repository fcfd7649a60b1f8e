"""The short way to the state of a step that one process alone spoke of, held to the rule that merges any number."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xray_core import merge

_small = st.integers(0, 9)
_word = st.sampled_from(["a", "b", ""])
_outcome = st.sampled_from(["accepted", "rejected"])
_json = st.none() | _small | st.dictionaries(_word, _small, max_size=2)
_end = st.none() | st.tuples(st.floats(0, 9), _word).map(list)
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
        "items": st.none() | st.dictionaries(st.sampled_from(["in", "out"]), st.none() | st.just({"n": 3, "sum": "0f", "order": None})),
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
