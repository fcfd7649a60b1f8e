"""The funnel of a run: attempts folded, mapped steps grouped, nesting kept, shares of what entered, bars that can be seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from xray_server.pages import charts, formatting
from xray_server.pages import funnel as funnels
from xray_server.records.schema import decode_record
from xray_server.store import Batch, Store, StoredStep


def stored(store: Store, *steps: dict[str, Any]) -> list[StoredStep]:
    records = [{"v": 1, "kind": "run", "run_id": "r", "part": "a", "rev": 1, "pipeline": "p", "status": "completed"}]
    for place, step in enumerate(steps):
        records.append(
            {"v": 1, "kind": "step", "run_id": "r", "step_id": f"s{place}", "attempt": 1, "part": "a", "rev": 1,
             "status": "completed", "index": place, "started_us": 1_760_000_000_000_000 + place * 1000, **step}
        )  # fmt: skip
    assert store.write([Batch([decode_record(json.dumps(record).encode()) for record in records])]) == [{}]
    return store.run_steps("default", "r", limit=1000).items


def counted(name: str, entered: int, left: int, **more: Any) -> dict[str, Any]:
    rejected = {"counts": {"rejected": entered - left}} if left < entered else {}
    return {"name": name, "input_count": entered, "output_count": left, **rejected, **more}


def test_shares_are_of_the_step_where_the_items_entered(store: Store) -> None:
    """Four destinations are not what 336,776 flights are a share of."""
    steps = stored(store, counted("expand", 4, 4), counted("retrieve", 1000, 1000), counted("filter", 1000, 10), counted("select", 10, 1))  # fmt: skip
    funnel = funnels.from_steps(steps)
    assert [row.share_of_first for row in funnel.rows] == [None, 1.0, 0.01, 0.001]
    assert [row.share_kept for row in funnel.rows] == [1.0, 1.0, 0.01, 0.1]
    assert (funnel.first, funnel.first_name, funnel.last) == (1000, "retrieve", 1)
    assert funnel.worst is not None
    assert funnel.worst.name == "filter"


def test_the_kept_part_of_a_bar_is_as_long_as_the_next_bar(store: Store) -> None:
    steps = stored(store, counted("filter", 100_000, 50), counted("score", 50, 50))
    for scale in ("log", "linear"):
        first, second = funnels.from_steps(steps, scale=scale).rows
        assert first.kept_width == second.kept_width
        assert first.portions[0].x == first.kept_width
        assert sum(portion.width for portion in first.portions) + first.kept_width == pytest.approx(100, abs=0.1)


def test_every_way_out_can_be_seen_however_rare(store: Store) -> None:
    reasons = {"common": 99_000, "rare": 1, "odd": 2}
    steps = stored(
        store, {"name": "f", "input_count": 100_000, "counts": {"rejected": 99_003}, "reasons": {"rejected": reasons}}
    )
    row = funnels.from_steps(steps, scale="linear").rows[0]
    assert {portion.label: portion.n for portion in row.portions} == {**reasons, "unaccounted": 997}
    assert all(portion.width > 0.3 for portion in row.portions)
    assert row.flagged == 1


def test_of_a_retried_step_the_last_attempt_counts_and_every_attempt_has_its_place_in_time(store: Store) -> None:
    start = 1_760_000_000_000_000
    steps = stored(
        store,
        {**counted("f", 10, 0), "step_id": "s", "status": "failed", "ended_us": start + 1_000_000},
        {**counted("f", 10, 4), "step_id": "s", "attempt": 2, "started_us": start + 3_600_000_000, "ended_us": start + 3_601_000_000},
    )  # fmt: skip
    row = funnels.from_steps(steps).rows[0]
    assert (row.input, row.accepted, row.steps, row.attempts, row.failed) == (10, 4, 1, 2, 0)
    timeline = charts.timeline([row], start)
    assert timeline is not None
    first, second = timeline.bars[row.path]
    assert first.width > 40  # an hour of waiting does not crush two seconds of work
    assert second.x > first.x + first.width
    assert [idle for _, idle in timeline.gaps] == [3_599_000_000]


def test_mapped_steps_of_one_name_are_one_row_and_nested_ones_stand_below_their_parent(store: Store) -> None:
    mapped = [{**counted("score", 10, 8), "map_index": n, "parent_id": "s0", "step_id": f"m{n}"} for n in range(5)]
    steps = stored(store, {"name": "outer", "step_id": "s0"}, *mapped, counted("after", 40, 40))
    rows = funnels.from_steps(steps).rows
    assert [(row.name, row.depth, row.steps, row.accepted) for row in rows] == [
        ("outer", 0, 1, 0), ("score", 1, 5, 40), ("after", 0, 1, 40),
    ]  # fmt: skip


def test_a_cycle_of_parents_is_shown_rather_than_followed(store: Store) -> None:
    steps = stored(store, {"name": "a", "parent_id": "s1"}, {"name": "b", "parent_id": "s0"})
    assert {row.name for row in funnels.from_steps(steps).rows} == {"a", "b"}


def test_the_sums_by_name_tell_the_same_as_the_steps(store: Store) -> None:
    steps = stored(
        store, *(counted("f", 10, n) for n in range(9)), {**counted("f", 10, 1), "step_id": "s0", "attempt": 2}
    )
    one, other = (
        funnels.from_steps(steps).rows[0],
        funnels.from_groups(store.step_groups("default", ["r"])["r"]).rows[0],
    )
    assert one.steps == other.steps
    for name in ("input", "accepted", "rejected", "unaccounted"):
        assert getattr(one.ledger, name) == getattr(other.ledger, name), name


def test_only_recorded_dependencies_make_a_graph(store: Store) -> None:
    steps = stored(
        store, {"name": "a"}, {"name": "b", "upstream": ["s0"]}, {"name": "c", "upstream": ["s0", "s1", "s2"]}
    )
    rows, paths = funnels.from_steps(steps).rows, funnels.paths_of(steps)
    drawn = charts.graph(rows, steps, paths)
    assert drawn is not None
    assert len(drawn.edges) == 3
    assert [node.y for node in drawn.nodes] == sorted(node.y for node in drawn.nodes)
    assert charts.graph(rows[:1], steps[:1], paths) is None


def test_a_limit_in_the_details_is_drawn_into_the_distribution_of_what_it_limits() -> None:
    def sample(item: str, outcome: str, **details: Any) -> dict[str, Any]:
        return {"item_id": item, "outcome": outcome, "details": details, "score": None, "weight": 2.0}

    prices = [sample(f"p{n}", "rejected" if n > 100 else "accepted", price=n, threshold=100) for n in range(80, 160, 5)]
    times = [sample(f"t{n}", "rejected", departs=f"11:{n}", latest="11:30") for n in range(31, 40)]
    by_name = {each.name: each for each in charts.distributions([*prices, *times])}
    assert by_name["price"].limits[0][:2] == ("threshold", 100.0)
    assert by_name["price"].nearest == ("p105", 105.0, 5.0)
    assert sum(each.kept + each.lost for each in by_name["price"].bins) == 2 * len(prices)
    assert by_name["departs"].clock
    assert by_name["departs"].text(by_name["departs"].limits[0][1]) == "11:30"
    assert by_name["departs"].nearest is not None
    assert by_name["departs"].nearest[0] == "t31"


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100%"), (0, "0%"), (0.9999994, "99.9999%"), (0.99999999, "99.9999%"), (0.5, "50.0%"), (0.00062, "0.062%"),
     (1e-9, "<0.0001%"), (None, "–"), (0.9991, "99.91%")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_nothing(share: float | None, text: str) -> None:
    assert formatting.percent(share) == text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil",
        "http://",
        "ht\ntp://x",
        "https://a b",
        "file:///etc",
        5,
        None,
    ],
)
def test_only_web_addresses_are_links(url: Any) -> None:
    assert formatting.web_link(url) is None
    assert formatting.web_link("https://airflow.example/dags/x?y=1") is not None


def test_characters_that_turn_text_round_are_made_visible() -> None:
    assert formatting.visible("a\u202eb\x00\u2066") == "a\\u202eb\\u0000\\u2066"
    assert formatting.visible("مرحبا 🛫") == "مرحبا 🛫"


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.15, "0.15 ms"), (999, "999 ms"), (999.9, "1.00 s"), (1310, "1.31 s"), (59_960, "1 min"), (125_000, "2 min 5 s"),
     (3_600_000 * 50, "2 days 2 h"), (None, "–")],
)  # fmt: skip
def test_durations_read_at_a_glance(ms: float | None, text: str) -> None:
    assert formatting.duration(ms) == text
