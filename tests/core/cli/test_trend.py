"""The drawing of trends."""

from __future__ import annotations

from typing import Any

from xray_core.cli.trend import sparkline, trend_lines


def point(hour: int, step: str, rate: float | None, **reasons: int) -> dict[str, Any]:
    return {"at": f"2026-01-31T{hour:02}:00:00Z", "pipeline": "p", "step": step, "items_in": 1200,
            "rejection_rate": rate, "reasons": reasons}  # fmt: skip


def test_a_step_is_a_line_and_an_hour_without_it_a_space() -> None:
    lines = trend_lines({
        "trends": [point(1, "filter", 0.0), point(2, "rank", None), point(3, "filter", 0.5, old=600), point(3, "rank", 0.0)]
    })  # fmt: skip
    assert lines == ["p/filter  ▁ ▅  50.0% of 1,200: old 600", "p/rank      ▁  0.0% of 1,200"]


def test_rates_are_drawn_from_none_to_all() -> None:
    assert sparkline([0, 0.5, 1, None, 1.5]) == "▁▅█ █"
    assert trend_lines({"trends": []}) == []
