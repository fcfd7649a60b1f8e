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


def test_numbers_texts_and_records_that_come_out_are_no_counts_and_a_join_that_loses_one_says_so() -> None:
    @task
    def save(rows: list[int]) -> int:
        return len(rows)

    @task
    def prompt(docs: list[str]) -> str:
        return "\n".join(docs)

    @task
    def score(row: dict[str, object]) -> dict[str, object]:
        return {"id": row["id"], "p": 0.5}

    @task
    def answer(text: str) -> dict[str, object]:
        return {"answer": text, "tokens": 3, "sources": []}

    @task
    def join(a: list[int], b: list[int]) -> list[int]:
        return [each for each in a if each in b]

    @flow
    def all_kinds() -> int:
        save([1, 2, 3])
        answer(prompt(["a", "b"]))
        score({"id": "u1", "age": 3, "income": 4})
        join([1, 2, 3, 4], [1, 2, 3])
        return 1

    with capture() as captured:
        all_kinds()
        all_kinds()
    work.check_figures(captured, {
        "save": (3, None, None), "prompt": (2, None, None), "answer": (None, None, None), "score": (1, 1, 0), "join": (4, 3, 1),
    })  # fmt: skip
    assert (captured.why("4").outcome, captured.why("4").step) == ("dropped", "join")
    assert captured.diff(*captured.run_ids).parted_at is None
