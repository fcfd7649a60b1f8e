"""X-Ray's ledger in Dagster's own metadata: opt in, with a link to the run's page."""

from collections.abc import Iterator
from typing import Any

import pytest
import xray_dagster
from dagster import (
    AssetOut,
    DynamicOut,
    DynamicOutput,
    MaterializeResult,
    RetryPolicy,
    asset,
    graph,
    graph_asset,
    graph_multi_asset,
    job,
    materialize,
    op,
)

from tests.integrations.dagster.capturing import Captured
from xray_core import current_step


def metadata_of(result: Any, node: str) -> dict[str, Any]:
    """The metadata of a node's materialization as Dagster keeps it."""
    (event,) = result.asset_materializations_for_node(node)
    return {name: value.value for name, value in event.metadata.items()}


@asset
def offers() -> list[int]:
    step = current_step()
    step.reject_many(range(999), "too_dear")
    step.reject("x", "sold_out")
    step.accept("y")
    return [1]


def test_an_assets_materialization_shows_the_ledger_and_links_back(xray: Captured) -> None:
    xray_dagster.enable(attach_ledger=True)
    result = materialize([offers])
    shown = metadata_of(result, "offers")
    assert shown["xray"] == "rejected 99.9% of 1,001: too_dear 999, sold_out 1; see X-Ray"
    assert (shown["xray/input"], shown["xray/accepted"], shown["xray/rejected"]) == (1001, 1, 1000)
    assert shown["xray/run"] == f"{xray.client.settings.api_url}/ui/runs/{result.run_id}"


def test_by_default_dagsters_metadata_is_left_alone(xray: Captured) -> None:
    assert not [name for name in metadata_of(materialize([offers]), "offers") if name.startswith("xray")]


def test_the_environment_can_ask_for_it(xray: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_DAGSTER_LEDGER", "1")
    assert metadata_of(materialize([offers]), "offers")["xray/rejected"] == 1000


def test_the_users_own_metadata_stands_beside_it(xray: Captured) -> None:
    xray_dagster.enable(attach_ledger=True)

    @asset
    def table() -> MaterializeResult:
        current_step().reject("x", "empty_row")
        return MaterializeResult(metadata={"path": "s3://bucket/table"})

    shown = metadata_of(materialize([table]), "table")
    assert (shown["path"], shown["xray/rejected"]) == ("s3://bucket/table", 1)


def test_a_step_that_decided_nothing_attaches_nothing(xray: Captured) -> None:
    xray_dagster.enable(attach_ledger=True)

    @asset
    def plain() -> int:
        return 1

    assert not [name for name in metadata_of(materialize([plain]), "plain") if name.startswith("xray")]


def test_each_dynamic_output_shows_the_ledger_so_far(xray: Captured) -> None:
    xray_dagster.enable(attach_ledger=True)

    @op(out=DynamicOut(int))
    def fan_out() -> Iterator[DynamicOutput[int]]:
        for number in range(3):
            current_step().reject(number, "odd")
            yield DynamicOutput(number, mapping_key=f"n{number}")

    @job
    def fanning() -> None:
        fan_out()

    result = fanning.execute_in_process()
    assert result.success
    outputs = [e.step_output_data.metadata for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    assert [each["xray/rejected"].value for each in outputs] == [1, 2, 3]


def test_a_graph_asset_shows_what_every_step_of_its_graph_rejected(xray: Captured) -> None:
    @op
    def fetch() -> list[int]:
        current_step().reject_many(range(40), "stale")
        return [1, 2]

    @op
    def trim(values: list[int]) -> list[int]:
        current_step().reject(2, "too_many")
        current_step().accept(1)
        return values[:1]

    @op
    def relay(values: list[int]) -> list[int]:
        return values

    @graph_asset
    def trimmed() -> list[int]:
        return trim(fetch())

    @graph_asset
    def relayed() -> list[int]:
        return relay(fetch())

    xray_dagster.enable(attach_ledger=True)
    result = materialize([trimmed, relayed])
    (shown,) = (
        {name: value.value for name, value in event.metadata.items()}
        for event in result.asset_materializations_for_node("trimmed")
    )
    assert shown["xray"] == "rejected 50.0% of 2: too_many 1; 40 rejected before it, at trimmed.fetch; see X-Ray"
    assert (shown["xray/rejected"], shown["xray/rejected_before"]) == (1, 40)
    (shown,) = (
        {name: value.value for name, value in event.metadata.items()}
        for event in result.asset_materializations_for_node("relayed")
    )
    assert shown["xray/rejected_before"] == 40
    assert "xray/rejected" not in shown, "it decided nothing itself"
    assert "40 rejected before it, at relayed.fetch" in shown["xray"]


def test_all_instances_of_a_mapped_step_count_and_of_a_retried_one_the_last_attempt(xray: Captured) -> None:
    tries: list[int] = []

    @op(out=DynamicOut(int))
    def fan_out() -> Iterator[DynamicOutput[int]]:
        for number in (1, 2, 3):
            yield DynamicOutput(number, mapping_key=str(number))

    @op
    def trim(number: int) -> int:
        current_step().reject_many((f"{number}-{n}" for n in range(number)), "stale")
        return number

    @op(retry_policy=RetryPolicy(max_retries=1))
    def flaky(numbers: list[int]) -> int:
        tries.append(1)
        if len(tries) == 1:
            current_step().reject_many(range(100), "half_done")
            raise ConnectionError("once")
        return sum(numbers)

    @op
    def last(value: int) -> int:
        return value

    @graph_asset
    def total() -> int:
        return last(flaky(fan_out().map(trim).collect()))

    xray_dagster.enable(attach_ledger=True)
    result = materialize([total])
    (event,) = result.asset_materializations_for_node("total")
    assert event.metadata["xray/rejected_before"].value == 6
    assert "at total.trim" in str(event.metadata["xray"].value)


def test_graphs_inside_a_graph_asset_and_several_outputs_of_one_count_what_their_own_graph_rejected(
    xray: Captured,
) -> None:
    @op
    def trim(values: list[int]) -> list[int]:
        current_step().reject_many((f"n-{n}" for n in range(len(values))), "stale")
        return values

    @op
    def source() -> list[int]:
        return [1, 2, 3]

    @op
    def last(values: list[int]) -> list[int]:
        return values

    @graph
    def inner(values: list[int]) -> list[int]:
        return trim(values)

    @graph_multi_asset(outs={"low": AssetOut(), "high": AssetOut()})
    def split() -> dict[str, Any]:
        values = source()
        return {"low": last(inner(values)), "high": last.alias("last_of_high")(values)}

    @graph_asset
    def apart() -> list[int]:
        return last(source())

    xray_dagster.enable(attach_ledger=True)
    result = materialize([split, apart])
    shown = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert shown["low"]["xray/rejected_before"].value == 3
    assert "at split.inner.trim" in str(shown["low"]["xray"].value)
    assert "xray/rejected_before" not in shown["high"], "no step that leads to it rejected anything"
    assert "xray/rejected_before" not in shown["apart"]
