"""Runs, steps, decisions and items as pandas and polars frames, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas
import polars
import pytest

from tests.live import Live
from xray_core import Client
from xray_core.errors import ConfigurationError


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home: Path = tmp_path_factory.mktemp("frames")
    live = Live(home)
    with live.xray("shop") as xray:
        for number in range(3):
            with xray.run(run_id=f"run-{number}") as run, run.step("price", step_type="filter") as step:
                step.reject("a", "too_dear", {"price": 150 if number else "a lot"})
                step.accept("b", score=0.5)
    with Client(live.url) as asking:
        yield asking
    live.stop()


def test_steps_are_rows_with_the_ledger_in_columns(client: Client) -> None:
    frame = client.to_pandas("steps", pipeline="shop")
    assert list(frame["ledger.rejected"]) == [1, 1, 1]
    assert list(frame["rejection_counts.too_dear"]) == [1, 1, 1]
    assert str(frame["started_at"].dtype).startswith("datetime64[")
    assert frame["started_at"].dt.tz is not None
    other = client.to_polars("steps", pipeline="shop")
    assert other["ledger.rejected"].to_list() == [1, 1, 1]
    assert isinstance(other["started_at"].dtype, polars.Datetime)


def test_details_of_decisions_are_columns_and_mixed_types_become_text_in_polars(client: Client) -> None:
    frame = client.to_pandas("decisions", reason="too_dear")
    assert sorted(map(str, frame["details.price"])) == ["150", "150", "a lot"]
    assert sorted(client.to_polars("decisions", reason="too_dear")["details.price"].to_list()) == [
        "150",
        "150",
        "a lot",
    ]


def test_an_item_has_a_row_for_each_step_that_saw_it(client: Client) -> None:
    frame = client.to_pandas("items", item_id="a")
    assert set(frame["run_id"]) == {"run-0", "run-1", "run-2"}
    assert set(frame["outcome"]) == {"rejected"}


def test_pages_are_followed_up_to_as_many_rows_as_were_asked_for(client: Client) -> None:
    assert len(client.to_pandas("runs")) == 3
    assert len(client.to_pandas("runs", rows=2)) == 2
    assert len(client.runs().to_polars()) == 3


def test_nothing_found_is_an_empty_frame_and_an_unknown_kind_says_which_there_are(client: Client) -> None:
    assert isinstance(client.to_pandas("runs", pipeline="none"), pandas.DataFrame)
    assert client.to_polars("runs", pipeline="none").height == 0
    with pytest.raises(ConfigurationError, match="ask for one of runs, steps"):
        client.to_pandas("things")  # type: ignore[arg-type]
