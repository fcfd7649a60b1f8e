"""Dagster jobs without a line of X-Ray: for every item that was lost `why` names the step, and nothing else is blamed."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import DynamicOut, DynamicOutput, In, Out, job, op

from tests.integrations import unchanged as work
from xray_core.testing import capture

pytestmark = pytest.mark.usefixtures("xray")


def as_op(function: Any, **arguments: Any) -> Any:
    """An op of a function's name, some of whose arguments are fixed."""
    names = [name for name in function.__annotations__ if name != "return" and name not in arguments]

    def body(context, **inputs: Any) -> Any:  # type: ignore[no-untyped-def]  # Dagster takes its own type or none
        return function(**inputs, **arguments)

    return op(name=function.__name__, ins={name: In(Any) for name in names}, out=Out(Any))(body)  # type: ignore[arg-type]


def test_an_etl_with_filter_dedupe_join_and_load() -> None:
    load_orders, load_customers = as_op(work.load_orders, n=10), as_op(work.load_customers, n=5)
    drop_invalid, dedupe, enrich = as_op(work.drop_invalid, minimum=0.0), as_op(work.dedupe), as_op(work.enrich)
    only_eu, write = as_op(work.only_eu), as_op(work.write)

    @job
    def etl() -> None:
        write(only_eu(enrich(orders=dedupe(drop_invalid(load_orders())), customers=load_customers())))

    with capture() as captured:
        assert etl.execute_in_process().success
    work.check(captured, work.ETL_LOST, work.ETL_KEPT)
    work.check_figures(captured, work.ETL_FIGURES)


def test_retrieval_with_filter_reranking_prompt_and_model() -> None:
    retrieve, in_english = as_op(work.retrieve, question="why?", k=8), as_op(work.in_english)
    rerank, prompt = as_op(work.rerank, question="why?", top=3), as_op(work.prompt, question="why?")
    model = as_op(work.model)

    @job
    def answer() -> None:
        model(prompt(rerank(in_english(retrieve()))))

    with capture() as captured:
        assert answer.execute_in_process().success
    work.check(captured, work.RAG_LOST, work.RAG_KEPT)
    work.check_figures(captured, work.RAG_FIGURES)


def test_a_batch_of_mapped_records() -> None:
    @op(out=DynamicOut(Any))
    def load_users() -> Any:
        for row in work.load_users(4):
            yield DynamicOutput(row, mapping_key=str(row["id"]))

    score, above, notify = as_op(work.score), as_op(work.above, limit=0.215), as_op(work.notify)

    @job
    def batch() -> None:
        notify(above(load_users().map(score).collect()))

    with capture() as captured:
        assert batch.execute_in_process().success
    work.check(captured, work.BATCH_LOST, work.BATCH_KEPT)
    work.check_figures(captured, {"score": (4, 4, 0), "above": (4, 2, 2)})


def test_a_tag_names_the_field_that_names_the_items() -> None:
    keys = []
    for tags in ({"xray/id": "sku"}, {}):

        @op(tags=tags)
        def cheap() -> list[dict[str, object]]:
            return [{"id": 1, "sku": "a"}]

        @job
        def tagged() -> None:
            cheap()

        with capture() as captured:
            assert tagged.execute_in_process().success
        (step,) = captured._steps("cheap", None)
        keys.append(step["items"]["out"]["key"])
    assert keys == ["sku", "id"]
