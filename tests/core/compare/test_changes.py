"""What two runs were given, side by side: paths of what differs, bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.compare import changes
from xray_core.compare.changes import bounded, differences
from xray_core.compare.options import Options
from xray_core.compare.types import Change
from xray_core.testing import capture


@pytest.mark.parametrize(
    ("a", "b", "paths"),
    [
        ({"to": "LAX"}, {"to": "BUR"}, {"in.to": ("LAX", "BUR")}),
        ({"to": "LAX"}, {}, {"in.to": ("LAX", None)}),
        ({"a": [1, 2]}, {"a": [1, 3]}, {"in.a[1]": (2, 3)}),
        ({"a": [1]}, {"a": [1, 2]}, {"in.a": ([1], [1, 2])}),
        (1, 1.0, {}),
        (1, True, {"in": (1, True)}),
        (True, True, {}),
        ("ab", "ac", {"in": ("ab", "ac")}),
        (None, None, {}),
    ],
)
def test_what_differs_is_named_by_its_path(a: Any, b: Any, paths: dict[str, Any]) -> None:
    assert {change.path: (change.a, change.b) for change in differences(a, b, "in")} == paths


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(a=_json, b=_json)
def test_nothing_differs_exactly_where_the_values_are_equal(a: Any, b: Any) -> None:
    def typed(value: Any) -> Any:  # 1 and True are two values here, as in JSON
        if isinstance(value, dict):
            return {key: typed(each) for key, each in value.items()}
        return [typed(each) for each in value] if isinstance(value, list) else (type(value) is bool, value)

    assert (list(differences(a, b, "", Options(tolerance=0))) == []) is (typed(a) == typed(b))


def test_changes_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_CHANGES", 2)
    kept, omitted = bounded(iter([Change(path=str(n), a=0, b=1) for n in range(5)]))
    assert ([each.path for each in kept], omitted) == (["0", "1"], 3)


def test_a_step_that_was_not_asked_to_run_again_is_no_difference() -> None:
    """A re-execution of what failed: the framework says which steps it was asked to run."""
    with capture() as result:
        ids = []
        for chosen in (None, ["graph.load"]):
            given = {"run_config": 1} if chosen is None else {"run_config": 1, "step_selection": chosen}
            with result.xray.run(input=given) as run:
                with run.step("load") as step:
                    step.set_output([1, 2])
                if chosen is None:
                    with run.step("report") as step:
                        step.set_output([3])
            ids.append(run.run_id)
    assert result.diff(*ids).parted_at is None
