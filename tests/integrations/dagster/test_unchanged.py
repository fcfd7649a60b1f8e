"""Dagster jobs without a line of X-Ray: for every item that was lost `why` names the step, and nothing else is blamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xray_dagster
from dagster import DynamicOut, DynamicOutput, In, Out, asset, graph, job, materialize, op
from xray_dagster import instrument

from tests.integrations import unchanged as work
from tests.live import Live
from xray_core.testing import capture
from xray_core.xray import set_default_client


def as_op(function: Any, **arguments: Any) -> Any:
    """An op of a function's name, some of whose arguments are fixed."""
    names = [name for name in function.__annotations__ if name != "return" and name not in arguments]

    def body(context, **inputs: Any) -> Any:  # type: ignore[no-untyped-def]  # Dagster takes its own type or none
        return function(**inputs, **arguments)

    return op(name=function.__name__, ins={name: In(Any) for name in names}, out=Out(Any))(body)  # type: ignore[arg-type]


def etl_job() -> Any:
    load_orders, load_customers = as_op(work.load_orders, n=10), as_op(work.load_customers, n=5)
    drop_invalid, dedupe, enrich = as_op(work.drop_invalid, minimum=0.0), as_op(work.dedupe), as_op(work.enrich)
    only_eu, write = as_op(work.only_eu), as_op(work.write)

    @job
    def etl() -> None:
        write(only_eu(enrich(orders=dedupe(drop_invalid(load_orders())), customers=load_customers())))

    return etl


def answer_job() -> Any:
    retrieve, in_english = as_op(work.retrieve, question="why?", k=8), as_op(work.in_english)
    rerank, prompt = as_op(work.rerank, question="why?", top=3), as_op(work.prompt, question="why?")
    model = as_op(work.model)

    @job
    def answer() -> None:
        model(prompt(rerank(in_english(retrieve()))))

    return answer


def batch_job() -> Any:
    @op(out=DynamicOut(Any))
    def load_users() -> Any:
        for row in work.load_users(4):
            yield DynamicOutput(row, mapping_key=str(row["id"]))

    score, above, notify = as_op(work.score), as_op(work.above, limit=0.215), as_op(work.notify)

    @job
    def batch() -> None:
        notify(above(load_users().map(score).collect()))

    return batch


@pytest.mark.usefixtures("xray")
@pytest.mark.parametrize(
    ("make", "lost", "kept", "figures"),
    [
        (etl_job, work.ETL_LOST, work.ETL_KEPT, work.ETL_FIGURES),
        (answer_job, work.RAG_LOST, work.RAG_KEPT, work.RAG_FIGURES),
        (batch_job, work.BATCH_LOST, work.BATCH_KEPT, {"score": (4, 4, 0), "above": (4, 2, 2)}),
    ],
    ids=["filter, dedupe, join and load", "retrieval, reranking, prompt and model", "mapped records"],
)
def test_for_every_item_that_was_lost_why_names_the_step_and_nothing_else_is_blamed(
    make: Callable[[], Any], lost: dict[str, str], kept: tuple[str, ...], figures: dict[str, Any]
) -> None:
    with capture() as captured:
        assert make().execute_in_process().success
    work.check(captured, lost, kept)
    work.check_figures(captured, figures)


def test_a_second_run_has_the_first_as_its_baseline_and_differs_in_nothing(tmp_path: Path, isolated_home: Path) -> None:
    live = Live(tmp_path)
    try:
        with live.xray("") as client:
            set_default_client(client)
            xray_dagster.enable()
            for make in (etl_job, answer_job, batch_job) * 2:
                assert make().execute_in_process().success
        for pipeline, lost in (("etl", work.ETL_LOST), ("answer", work.RAG_LOST), ("batch", work.BATCH_LOST)):
            second, first = live.get("/runs", pipeline=pipeline)["runs"]
            assert (second["flagged_steps"], first["flagged_steps"]) == (0, 0)
            diff = live.get(f"/runs/{second['run_id']}/diff/baseline")
            assert (diff["baseline"]["run_id"], diff["parted_at"], diff["flipped_count"]) == (first["run_id"], None, 0)
            for item, step in lost.items():
                why = live.why(second["run_id"], item)
                assert (why["outcome"], why["step"], why["inferred"]) == ("dropped", step, True), why["sentence"]
    finally:
        instrument.disable()
        set_default_client(None)
        live.stop()


def records() -> list[dict[str, Any]]:
    return [{"id": 1, "sku": "a", "ean": "x"}, {"id": 2, "sku": "b", "ean": "y"}]


def test_the_field_that_names_the_items_is_chosen_by_pipeline_and_by_step(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    keys_given = "id; tagged/cheap=sku; other/*=ean; */mapped=sku,ean; */inner.cheap=sku; assets/*=ean"
    monkeypatch.setenv("XRAY_ITEM_KEY", keys_given)
    request.getfixturevalue("xray")  # a client made now

    @op
    def cheap() -> list[dict[str, Any]]:
        return records()

    @op(tags={"xray/id": "sku"})
    def by_tag() -> list[dict[str, Any]]:
        return records()

    @op(out=DynamicOut(int))
    def fan_out() -> Any:
        yield DynamicOutput(1, mapping_key="one")

    @op
    def mapped(n: int) -> list[dict[str, Any]]:
        return records()

    @graph
    def inner() -> Any:
        return cheap()

    @asset
    def an_asset() -> list[dict[str, Any]]:
        return records()

    @job
    def tagged() -> None:
        cheap()
        cheap.alias("dear")()
        inner()
        by_tag()
        fan_out().map(mapped)

    @job
    def other() -> None:
        cheap()
        by_tag()

    def keys() -> dict[str, Any]:
        return {each["name"]: each["items"]["out"]["key"] for each in captured._run(None).steps if each.get("items")}

    with capture() as captured:
        assert tagged.execute_in_process().success
    assert keys() == {"cheap": "sku", "dear": "id", "inner.cheap": "sku", "by_tag": "sku", "mapped": ["sku", "ean"]}
    with capture() as captured:
        assert other.execute_in_process().success
    assert keys() == {"cheap": "ean", "by_tag": "sku"}, "what the op says itself wins"
    with capture() as captured:
        assert materialize([an_asset]).success
    assert keys() == {"an_asset": "ean"}
