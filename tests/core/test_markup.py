"""Answers in a notebook: a run's funnel, an item's journey and two runs side by side, as HTML and as text, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.live import Live
from xray_core import Client
from xray_core.markup import MAX_ROWS
from xray_core.query.client import RunResult, StepResult

HOSTILE = "<script>alert('x')</script>"


class Elements(HTMLParser):
    """The tags and the text of a piece of HTML; balanced, and of the kinds that are expected."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, _: object) -> None:
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data + " "


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home: Path = tmp_path_factory.mktemp("notebook")
    live = Live(home)
    with live.xray("shop") as xray:
        for run_id, limit in (("run-1", 100), ("run-2", 50)):
            with xray.run(run_id=run_id) as run, run.step("price", step_type="filter") as step:
                step.set_metadata("limit", limit)
                for item, price in (("a", 150), ("b", 80), ("c", 20)):
                    if price > limit:
                        step.reject(item, f"too dear {HOSTILE}", {"price": price})
                    else:
                        step.accept(item)
    with Client(live.url) as asking:
        yield asking
    live.stop()


def test_a_run_renders_as_its_funnel(client: Client) -> None:
    run = client.run("run-1")
    seen = Elements(run._repr_html_())
    assert "price" in seen.text
    assert "shop run-1: completed" in seen.text
    assert "script" not in seen.tags
    assert "alert" in seen.text  # the reason, as text
    assert str(run).splitlines()[1].startswith("  price: input 3, accepted 2, rejected 1 (too dear")


def test_why_renders_as_the_journey_of_the_item(client: Client) -> None:
    why = client.why("a", "run-1")
    seen = Elements(why._repr_html_())
    assert why.sentence in " ".join(seen.text.split())
    assert "rejected" in seen.text
    assert "script" not in seen.tags
    first, second = str(why).splitlines()[:2]
    assert first == why.sentence
    assert second.startswith("  price: rejected: too dear")


def test_diff_renders_both_runs_side_by_side_with_the_items_that_flipped(client: Client) -> None:
    diff = client.diff("run-1", "run-2")
    seen = Elements(diff._repr_html_())
    assert "price" in seen.text
    assert "1 item flipped" in seen.text
    assert "script" not in seen.tags
    assert "  b at price: accepted -> rejected (too dear" in str(diff)


def test_what_renders_is_bounded() -> None:
    steps = [StepResult(run_id="r", step_id=str(n), attempt=1, name=f"step {n}" * 50) for n in range(MAX_ROWS + 7)]
    seen = Elements(RunResult(run_id="r", steps=steps)._repr_html_())
    assert "and 7 more" in seen.text
    assert seen.tags.count("tr") == MAX_ROWS + 1
