"""Assets of every kind, in process: what was materialized and checked is on the step."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetOut,
    AssetSpec,
    DagsterInstance,
    MaterializeResult,
    Output,
    StaticPartitionsDefinition,
    asset,
    asset_check,
    graph_asset,
    materialize,
    multi_asset,
    op,
)

from tests.integrations.dagster.capturing import Captured
from xray_core import current_step


def test_an_asset_is_a_step_with_its_materialization(xray: Captured) -> None:
    @asset(key_prefix="raw", code_version="7")
    def offers() -> list[int]:
        return [10, 20, 30]

    @asset(ins={})
    def cheap(context: AssetExecutionContext) -> Output[list[int]]:
        for price in (20, 30):
            current_step().reject(price, "too_dear")
        return Output([10], metadata={"rows": 1, "mean_price": 10.0})

    assert materialize([offers, cheap]).success
    step = xray.step("raw__offers")
    assert (step["status"], step["output"]["size"], step["origin"]["kind"]) == ("completed", 3, "asset")
    assert step["origin"]["ids"]["assets"] == ["raw/offers"]
    assert step["code_version"].startswith("7 code:")
    cheap_step = xray.step("cheap")
    materialized = cheap_step["metadata"]["result.materialized"]["cheap"]
    assert (materialized["rows"], materialized["mean_price"]) == (1, 10.0)
    assert xray.rejected("cheap") == ["20", "30"]
    assert xray.run["pipeline"] == "assets", "Dagster's made-up job name would say nothing"


def test_assets_downstream_know_what_they_were_made_of(xray: Captured) -> None:
    @asset
    def offers() -> list[int]:
        return [10, 20, 30]

    @asset
    def cheap(offers: list[int]) -> list[int]:
        return offers[:1]

    assert materialize([offers, cheap]).success
    step = xray.step("cheap")
    assert (step["input"]["offers"]["size"], step["output"]["size"]) == (3, 1)
    assert step["upstream"] == [xray.step("offers")["step_id"]]


def test_a_materialize_result_is_of_the_size_of_its_row_count(xray: Captured) -> None:
    @asset
    def table() -> MaterializeResult:
        return MaterializeResult(metadata={"dagster/row_count": 374, "path": "s3://bucket/table"})

    assert materialize([table]).success
    step = xray.step("table")
    assert step["output"] == {"$type": "table", "size": 374}
    assert step["output_count"] is None, "the size of a table is no count of the items that this step let through"
    assert step["metadata"]["result.materialized"] == {"table": {"dagster/row_count": 374, "path": "s3://bucket/table"}}


def test_a_multi_asset_is_one_step_with_all_its_keys(xray: Captured) -> None:
    @multi_asset(outs={"kept": AssetOut(), "dropped": AssetOut(is_required=False)})
    def split() -> Iterator[Output[list[int]]]:
        yield Output([1], "kept", metadata={"rows": 1})
        yield Output([2, 3], "dropped", metadata={"rows": 2})

    assert materialize([split]).success
    step = xray.step("split")
    assert step["origin"]["kind"] == "multi_asset"
    assert step["origin"]["ids"]["assets"] == ["dropped", "kept"] or step["origin"]["ids"]["assets"] == [
        "kept",
        "dropped",
    ]
    assert step["output"] == {"kept": {"$type": "list", "size": 1}, "dropped": {"$type": "list", "size": 2}}
    materialized = step["metadata"]["result.materialized"]
    assert {key: each["rows"] for key, each in materialized.items()} == {"kept": 1, "dropped": 2}


def test_a_multi_asset_of_specs_materializes_by_results(xray: Captured) -> None:
    @multi_asset(specs=[AssetSpec("a"), AssetSpec("b")])
    def both() -> Iterator[MaterializeResult]:
        yield MaterializeResult(asset_key=AssetKey("a"), metadata={"rows": 1})
        yield MaterializeResult(asset_key=AssetKey("b"), metadata={"rows": 2})

    assert materialize([both]).success
    assert xray.step("both")["metadata"]["result.materialized"] == {"a": {"rows": 1}, "b": {"rows": 2}}


def test_the_ops_of_a_graph_asset_are_steps_of_their_own(xray: Captured) -> None:
    @op
    def fetch() -> list[int]:
        return [1, 2]

    @op
    def trim(values: list[int]) -> list[int]:
        current_step().reject(2, "too_many")
        return values[:1]

    @graph_asset
    def trimmed() -> list[int]:
        return trim(fetch())

    assert materialize([trimmed]).success
    first, last = xray.step("trimmed.fetch"), xray.step("trimmed.trim")
    assert last["origin"]["kind"] == "graph_asset"
    assert last["origin"]["ids"]["assets"] == ["trimmed"]
    assert (first["origin"]["ids"]["graph"], last["upstream"]) == ("trimmed", [first["step_id"]])
    assert last["reasons"]["rejected"] == {"too_many": 1}


def test_asset_checks_say_whether_they_passed_and_how_bad_it_is(xray: Captured) -> None:
    @asset(check_specs=[AssetCheckSpec("not_empty", asset="prices")])
    def prices() -> Iterator[Any]:
        yield Output([1, -2])
        yield AssetCheckResult(passed=True, check_name="not_empty", metadata={"rows": 2})

    @asset_check(asset=prices)
    def no_negatives(prices: list[int]) -> AssetCheckResult:
        for price in prices:
            if price < 0:
                current_step().reject(price, "negative")
        return AssetCheckResult(passed=False, severity=AssetCheckSeverity.WARN, metadata={"negatives": 1})

    assert materialize([prices, no_negatives]).success
    inside = xray.step("prices")["metadata"]["result.checks"]
    assert inside == {"prices:not_empty": {"passed": True, "severity": "ERROR", "rows": 2}}
    step = xray.step("prices_no_negatives")
    assert (step["step_type"], step["origin"]["kind"], step["status"]) == ("check", "asset_check", "completed")
    assert step["origin"]["ids"]["asset_checks"] == ["prices:no_negatives"]
    assert step["metadata"]["result.checks"] == {
        "prices:no_negatives": {"passed": False, "severity": "WARN", "negatives": 1}
    }
    assert xray.rejected("prices_no_negatives") == ["-2"]


def test_a_blocking_check_that_fails_fails_its_step_and_skips_what_is_downstream(xray: Captured) -> None:
    @asset
    def prices() -> list[int]:
        return [-2]

    @asset_check(asset=prices, blocking=True)
    def no_negatives(context: AssetCheckExecutionContext, prices: list[int]) -> AssetCheckResult:
        return AssetCheckResult(passed=False)

    @asset
    def report(prices: list[int]) -> str:
        return str(prices)

    assert not materialize([prices, no_negatives, report], raise_on_error=False).success
    check, never = xray.step("prices_no_negatives"), xray.step("report")
    assert (check["status"], check["error"]["type"]) == ("failed", "DagsterAssetCheckFailedError")
    told = check["metadata"]["result.checks"]["prices:no_negatives"]
    assert told["passed"] is False
    assert told.get("blocking", True) is True, "Dagster 1.8 does not say which checks block"
    assert never["status"] == "skipped"
    assert never["metadata"]["result.not_run"] == "upstream failed: prices_no_negatives"


def test_a_partition_is_part_of_what_the_run_was_asked(xray: Captured) -> None:
    @asset(partitions_def=StaticPartitionsDefinition(["eu", "us"]))
    def offers(context: AssetExecutionContext) -> list[str]:
        return [context.partition_key]

    assert materialize([offers], partition_key="eu").success
    run = xray.run
    assert run["input"]["partition"] == "eu"
    assert run["tags"]["partition"] == "eu"
    assert not [key for key in run["tags"] if "dagster/" in key]
    assert xray.step("offers")["metadata"]["result.materialized"]["offers"]["partition"] == "eu"


def test_a_run_that_dagster_keeps_links_to_its_page(xray: Captured, dagster_home: Any, monkeypatch: Any) -> None:
    @asset
    def offers() -> list[int]:
        return [1]

    monkeypatch.setenv("XRAY_DAGSTER_URL", "https://dagster.example/")
    with DagsterInstance.get() as instance:
        run_id = materialize([offers], instance=instance).run_id
    assert xray.run["origin"]["url"] == f"https://dagster.example/runs/{run_id}"
    assert xray.step("offers")["origin"]["url"] == f"https://dagster.example/runs/{run_id}?logs=step%3Aoffers"


def test_a_run_on_an_ephemeral_instance_has_no_page_to_link_to(xray: Captured) -> None:
    @asset
    def offers() -> list[int]:
        return [1]

    assert materialize([offers]).success
    assert xray.run["origin"]["url"] is None
