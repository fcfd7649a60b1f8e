"""Prefect flows without a line of X-Ray: for every item that was lost `why` names the step, and nothing else is blamed."""

from __future__ import annotations

import pytest
from prefect import flow, task

from tests.integrations import unchanged as work
from xray_core.testing import capture

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_an_etl_with_filter_dedupe_join_and_load() -> None:
    load_orders, load_customers, drop_invalid = (
        task(work.load_orders),
        task(work.load_customers),
        task(work.drop_invalid),
    )
    dedupe, enrich, only_eu, write = task(work.dedupe), task(work.enrich), task(work.only_eu), task(work.write)

    @flow
    def etl() -> int:
        good = dedupe(drop_invalid(load_orders(10), 0.0))
        return write(only_eu(enrich(good, load_customers(5))))

    with capture() as captured:
        etl()
    work.check(captured, work.ETL_LOST, work.ETL_KEPT)
    work.check_figures(captured, work.ETL_FIGURES)


def test_retrieval_with_filter_reranking_prompt_and_model() -> None:
    retrieve, in_english, rerank = task(work.retrieve), task(work.in_english), task(work.rerank)
    prompt, model = task(work.prompt), task(work.model)

    @flow
    def answer(question: str) -> dict[str, object]:
        best = rerank(question, in_english(retrieve(question, 8)), 3)
        return model(prompt(question, best))

    with capture() as captured:
        answer("why?")
        answer("why?")
    work.check(captured, work.RAG_LOST, work.RAG_KEPT)
    work.check_figures(captured, work.RAG_FIGURES)
    first, second = captured.run_ids
    assert captured.diff(first, second).parted_at is None


def test_a_batch_of_mapped_records() -> None:
    load_users, score, above, notify = task(work.load_users), task(work.score), task(work.above), task(work.notify)

    @flow
    def batch() -> None:
        scored = score.map(load_users(4))
        notify(above([each.result() for each in scored], 0.215))

    with capture() as captured:
        batch()
    work.check(captured, work.BATCH_LOST, work.BATCH_KEPT)
    work.check_figures(captured, {"score": (4, 4, 0), "above": (4, 2, 2), "notify": (2, None, None)})


def test_a_tag_names_the_field_that_names_the_items() -> None:
    @task(tags={"xray/id: sku"})
    def cheap(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return rows[:1]

    @flow
    def tagged() -> None:
        cheap([{"id": 1, "sku": "a"}, {"id": 2, "sku": "b"}])

    with capture() as captured:
        tagged()
    assert captured.why("b").step == "cheap"
