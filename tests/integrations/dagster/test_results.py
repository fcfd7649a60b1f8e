"""What Dagster's events say came of a step: partitions, row counts, data versions, and steps that were never mapped.

Tests results.py.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
    AssetSpec,
    BackfillPolicy,
    DailyPartitionsDefinition,
    DataVersion,
    Definitions,
    DynamicOut,
    DynamicOutput,
    ExpectationResult,
    HookContext,
    IOManager,
    MaterializeResult,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    ObserveResult,
    OpExecutionContext,
    RetryPolicy,
    StaticPartitionsDefinition,
    asset,
    failure_hook,
    job,
    materialize,
    multi_observable_source_asset,
    observable_source_asset,
    op,
    success_hook,
)

from tests.integrations.dagster.capturing import Captured
from xray_core import current_step

DAYS = DailyPartitionsDefinition("2026-01-01", end_date="2026-01-06")
FIVE_DAYS = {
    "dagster/asset_partition_range_start": "2026-01-01",
    "dagster/asset_partition_range_end": "2026-01-05",
}


def backfill(made: Any, **options: Any) -> None:
    """All five partitions in a single run."""
    assert materialize([made], tags=FIVE_DAYS, **options).success


def test_a_single_run_backfill_tells_every_partition_and_adds_their_rows_up(xray: Captured) -> None:
    @asset(partitions_def=DAYS, backfill_policy=BackfillPolicy.single_run())
    def daily(context: AssetExecutionContext) -> None:
        for day in context.partition_keys:
            metadata = {"dagster/row_count": 100, "day": day}
            context.log_event(AssetMaterialization("daily", partition=day, metadata=metadata))

    backfill(daily)
    step = xray.step("daily")
    told = step["metadata"]["result.materialized"]
    assert sorted(told) == [f"daily[2026-01-0{day}]" for day in range(1, 6)]
    assert told["daily[2026-01-03]"] == {"partition": "2026-01-03", "dagster/row_count": 100, "day": "2026-01-03"}
    assert step["output"] == {"$type": "table", "size": 500}


def test_the_row_count_of_one_output_is_not_added_up_over_the_partitions_that_it_is_of(xray: Captured) -> None:
    @asset(partitions_def=DAYS, backfill_policy=BackfillPolicy.single_run())
    def whole() -> MaterializeResult:
        return MaterializeResult(metadata={"dagster/row_count": 500})

    backfill(whole)
    step = xray.step("whole")
    assert len(step["metadata"]["result.materialized"]) == 5
    assert step["output"]["size"] == 500


def test_rows_that_an_io_manager_tells_by_partition_add_up(xray: Captured) -> None:
    class Writes(IOManager):
        def handle_output(self, context: Any, obj: Any) -> Iterator[AssetMaterialization]:
            for n, day in enumerate(context.asset_partition_keys):
                yield AssetMaterialization(context.asset_key, partition=day, metadata={"dagster/row_count": n})

        def load_input(self, context: Any) -> None: ...

    @asset(partitions_def=DAYS, backfill_policy=BackfillPolicy.single_run(), io_manager_key="io")
    def written() -> int:
        return 1

    backfill(written, resources={"io": Writes()})
    told = xray.step("written")["metadata"]["result.materialized"]
    assert sum(each["dagster/row_count"] for each in told.values()) == 10


def test_more_partitions_than_are_kept_are_counted_and_their_rows_add_up(xray: Captured) -> None:
    many = DailyPartitionsDefinition("2026-01-01", end_date="2026-03-02")

    @asset(partitions_def=many, backfill_policy=BackfillPolicy.single_run())
    def daily(context: AssetExecutionContext) -> None:
        for day in context.partition_keys:
            context.log_event(AssetMaterialization("daily", partition=day, metadata={"dagster/row_count": 10}))

    tags = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-03-01"}
    assert materialize([daily], tags=tags).success
    step = xray.step("daily")
    assert len(step["metadata"]["result.materialized"]) == 50
    assert step["metadata"]["result.materialized_omitted"] == 10
    assert step["output"]["size"] == 600


@pytest.mark.filterwarnings("ignore:.*ExpectationResult.*:DeprecationWarning")
def test_expectations_are_told_whether_they_were_met(xray: Captured) -> None:
    @op
    def loads(context: OpExecutionContext) -> int:
        context.log_event(ExpectationResult(success=True, label="not_empty"))
        context.log_event(ExpectationResult(success=False, label="not_empty", description="b", metadata={"rows": 0}))
        context.log_event(ExpectationResult(success=True))
        return 1

    @job
    def nightly() -> None:
        loads()

    assert nightly.execute_in_process().success
    assert xray.step("loads")["metadata"]["result.expectations"] == {
        "not_empty": {"passed": True},
        "not_empty (2)": {"passed": False, "description": "b", "rows": 0},
        "result": {"passed": True},  # the name that Dagster gives
    }


def test_the_same_rows_told_again_count_once(xray: Captured) -> None:
    @asset
    def table(context: AssetExecutionContext) -> None:
        for rows in (3, 7):
            context.log_event(AssetMaterialization("table", metadata={"dagster/row_count": rows}))

    assert materialize([table]).success
    assert xray.step("table")["output"]["size"] == 7


def test_an_observed_data_version_is_told(xray: Captured) -> None:
    @observable_source_asset
    def landing() -> DataVersion:
        return DataVersion("abc")

    defs: Any = Definitions(assets=[landing])
    name = "resolve_implicit_global_asset_job_def"  # since 1.11
    made = getattr(defs, name if hasattr(defs, name) else "get_implicit_global_asset_job_def")()
    assert made.execute_in_process().success
    step = xray.step("landing")
    assert step["metadata"]["result.observed"] == {"landing": {"data_version": "abc"}}


def test_a_data_version_is_told_where_the_user_gave_it(xray: Captured) -> None:
    @asset
    def given() -> MaterializeResult:
        return MaterializeResult(data_version=DataVersion("7"))

    @asset
    def made_up() -> MaterializeResult:
        return MaterializeResult()

    assert materialize([given, made_up]).success
    assert xray.step("given")["metadata"]["result.materialized"] == {"given": {"data_version": "7"}}
    assert xray.step("made_up")["metadata"]["result.materialized"] == {"made_up": {}}


@op(out=DynamicOut(int))
def yields_none() -> Iterator[DynamicOutput[int]]:
    yield from ()


@op(out=DynamicOut(int))
def yields_two() -> Iterator[DynamicOutput[int]]:
    for n in (1, 2):
        yield DynamicOutput(n, str(n))


@op
def use(n: int) -> int:
    return n


@op
def use_again(n: int) -> int:
    return n


@op
def fails() -> int:
    raise ValueError("no")


@pytest.mark.parametrize("failing", [False, True])
def test_a_step_without_a_dynamic_output_was_not_mapped_however_the_run_ended(xray: Captured, failing: bool) -> None:
    @job
    def mapping() -> None:
        yields_none().map(lambda n: use_again(use(n)))
        if failing:
            fails()

    assert mapping.execute_in_process(raise_on_error=False).success is not failing
    for key in ("use[?]", "use_again[?]"):
        step = xray.step(key)
        assert (step["status"], step["origin"]["state"]) == ("skipped", "NOT_MAPPED")
    assert xray.step("use[?]")["metadata"]["result.not_run"] == "yields_none yielded no dynamic output"


def test_hooks_decide_on_the_step_that_they_hang_on(xray: Captured) -> None:
    @failure_hook
    def on_failure(context: HookContext) -> None:
        current_step().reject(f"failed-{context.op.name}", "late")

    @success_hook
    def on_success(context: HookContext) -> None:
        current_step().reject(f"done-{context.op.name}", "late")

    @op
    def works() -> int:
        current_step().reject("early", "seen")
        return 1

    @job(hooks={on_failure, on_success})
    def hooked() -> None:
        works()
        fails()

    hooked.execute_in_process(raise_on_error=False)
    assert sorted(xray.rejected("works")) == ["done-works", "early"]
    assert xray.step("works")["reasons"]["rejected"] == {"late": 1, "seen": 1}
    assert xray.step("works")["status"] == "completed"
    assert xray.rejected("fails") == ["failed-fails"]
    assert xray.step("fails")["status"] == "failed"


def test_hooks_of_mapped_and_retried_steps_decide_on_the_instance_and_the_attempt_that_ended(xray: Captured) -> None:
    tries: list[int] = []

    @success_hook
    def on_success(context: HookContext) -> None:
        current_step().reject(f"done-{len(tries)}", "late")

    @op(retry_policy=RetryPolicy(max_retries=1))
    def flaky(n: int) -> int:
        tries.append(n)
        if tries == [1]:
            raise ConnectionError("once")
        return n

    @job(hooks={on_success})
    def hooked() -> None:
        yields_two().map(flaky)

    assert hooked.execute_in_process().success
    late = {key: step["counts"] for key, step in xray.steps.items() if step["reasons"].get("rejected")}
    assert late == {
        ("yields_two", 1): {"rejected": 1}, ("flaky[1]", 2): {"rejected": 1}, ("flaky[2]", 1): {"rejected": 1},
    }  # fmt: skip


def test_a_hook_that_fails_keeps_what_it_said_and_the_step_its_end(xray: Captured) -> None:
    @success_hook
    def breaks(context: HookContext) -> None:
        current_step().reject("x", "late")
        raise ValueError("the hook's own")

    @job(hooks={breaks})
    def hooked() -> None:
        yields_two().map(use)

    assert hooked.execute_in_process().success
    assert xray.step("use[1]")["counts"] == {"rejected": 1}
    assert (xray.step("use[1]")["status"], xray.step("use[1]")["error"]) == ("completed", None)


def test_sources_that_one_step_observes_are_told_apart(xray: Captured) -> None:
    @multi_observable_source_asset(specs=[AssetSpec("a"), AssetSpec("b")])
    def both() -> Iterator[ObserveResult]:
        yield ObserveResult(asset_key="a", data_version=DataVersion("1"))
        yield ObserveResult(asset_key="b", data_version=DataVersion("2"), metadata={"dagster/row_count": 5})

    defs: Any = Definitions(assets=[both])
    name = "resolve_implicit_global_asset_job_def"  # since 1.11
    made = getattr(defs, name if hasattr(defs, name) else "get_implicit_global_asset_job_def")()
    assert made.execute_in_process().success
    told = xray.step("both")["metadata"]["result.observed"]
    assert told == {"a": {"data_version": "1"}, "b": {"data_version": "2", "dagster/row_count": 5}}


def test_partitions_of_two_dimensions_are_told_one_by_one(xray: Captured) -> None:
    shelves = MultiPartitionsDefinition({"day": DAYS, "shop": StaticPartitionsDefinition(["east", "west"])})

    @asset(partitions_def=shelves)
    def sold(context: AssetExecutionContext) -> MaterializeResult:
        return MaterializeResult(metadata={"dagster/row_count": 3})

    key = MultiPartitionKey({"day": "2026-01-02", "shop": "west"})
    assert materialize([sold], partition_key=key).success
    assert xray.run["tags"]["partition"] == "2026-01-02|west"
    assert xray.step("sold")["metadata"]["result.materialized"]["sold"]["partition"] == "2026-01-02|west"


def test_what_collects_an_unmapped_step_runs_and_has_nothing_to_work_on(xray: Captured) -> None:
    @op
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @job
    def mapping() -> None:
        total(yields_none().map(use).collect())

    assert mapping.execute_in_process().success
    assert xray.step("use[?]")["origin"]["state"] == "NOT_MAPPED"
    assert xray.step("total")["status"] == "completed"
