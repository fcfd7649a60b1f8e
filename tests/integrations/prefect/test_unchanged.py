"""Prefect flows without a line of X-Ray: for every item that was lost `why` names the step, and nothing else is blamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, tags, task

from tests.integrations import unchanged as work
from tests.live import Live
from xray_core import XRay
from xray_core.testing import capture
from xray_core.xray import set_default_client

pytestmark = pytest.mark.usefixtures("prefect_server")

BATCH_FIGURES: dict[str, tuple[int | None, int | None, int | None]] = {
    "score": (4, 4, 0), "above": (4, 2, 2), "notify": (2, None, None),
}  # fmt: skip


@flow
def etl() -> int:
    good = task(work.dedupe)(task(work.drop_invalid)(task(work.load_orders)(10), 0.0))
    return task(work.write)(task(work.only_eu)(task(work.enrich)(good, task(work.load_customers)(5))))


@flow
def answer(question: str) -> dict[str, object]:
    best = task(work.rerank)(question, task(work.in_english)(task(work.retrieve)(question, 8)), 3)
    return task(work.model)(task(work.prompt)(question, best))


@flow
def batch() -> None:
    scored = task(work.score).map(task(work.load_users)(4))
    task(work.notify)(task(work.above)([each.result() for each in scored], 0.215))


@pytest.mark.parametrize(
    ("run", "lost", "kept", "figures"),
    [
        pytest.param(etl, work.ETL_LOST, work.ETL_KEPT, work.ETL_FIGURES, id="filter, dedupe, join and load"),
        pytest.param(lambda: answer("why?"), work.RAG_LOST, work.RAG_KEPT, work.RAG_FIGURES, id="retrieve, rerank, prompt, model"),
        pytest.param(batch, work.BATCH_LOST, work.BATCH_KEPT, BATCH_FIGURES, id="mapped records"),
    ],
)  # fmt: skip
def test_for_every_item_that_was_lost_why_names_the_task_and_nothing_else_is_blamed(
    run: Callable[[], object], lost: dict[str, str], kept: tuple[str, ...], figures: Any
) -> None:
    with capture() as captured:
        run()
    work.check(captured, lost, kept)
    work.check_figures(captured, figures)


def test_a_second_run_has_the_first_as_its_baseline_and_differs_in_nothing(tmp_path: Path) -> None:
    live = Live(tmp_path)
    try:
        with live.xray("unchanged") as client:
            set_default_client(client)
            for _ in range(2):
                etl()
                answer("why?")
                batch()
        for pipeline, lost in (("etl", work.ETL_LOST), ("answer", work.RAG_LOST), ("batch", work.BATCH_LOST)):
            second, first = live.get("/runs", pipeline=pipeline)["runs"]
            assert (second["flagged_steps"], first["flagged_steps"]) == (0, 0)
            diff = live.get(f"/runs/{second['run_id']}/diff/baseline")
            assert (diff["baseline"]["run_id"], diff["parted_at"], diff["flipped_count"]) == (first["run_id"], None, 0)
            for item, step in lost.items():
                why = live.why(second["run_id"], item)
                assert (why["outcome"], why["step"], why["inferred"]) == ("dropped", step, True), why["sentence"]
    finally:
        set_default_client(None)
        live.stop()


def test_a_setting_names_the_field_of_the_items_for_all_for_a_pipeline_for_a_step_and_for_several_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XRAY_ITEM_KEY", "order; stock/*=sku; stock/label=label; */pack=order,line")
    rows = [{"id": n, "order": f"o{n}", "line": n % 2, "sku": f"s{n}", "label": f"l{n}"} for n in range(4)]
    cheap, label, pack = (task(lambda rows: rows[:3], name=name) for name in ("cheap", "label", "pack"))

    @flow
    def stock() -> None:
        cheap(rows)
        label(rows)

    @flow
    def sales() -> None:
        cheap(rows)
        pack(rows)

    with capture() as captured, XRay("keys") as client:
        set_default_client(client)
        stock()
        sales()
        set_default_client(None)
    in_stock, in_sales = captured.run_ids
    keys = {
        (record["run_id"], record["name"]): record["items"]["in"]["key"]
        for record in captured.records
        if record["kind"] == "step" and record.get("items")
    }
    assert keys == {
        (in_stock, "cheap"): "sku",
        (in_stock, "label"): "label",
        (in_sales, "cheap"): "order",
        (in_sales, "pack"): ["order", "line"],
    }
    for item, run_id, step in (("s3", in_stock, "cheap"), ("l3", in_stock, "label"), ("o3", in_sales, "cheap")):
        assert (captured.why(item, run_id).outcome, captured.why(item, run_id).step) == ("dropped", step)


def test_a_tag_of_a_task_or_of_a_whole_run_names_the_field_that_names_the_items() -> None:
    @task(tags={"xray/id: sku"})
    def cheap(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return rows[:1]

    @task
    def cheaper(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return rows[:1]

    @flow
    def tagged() -> None:
        cheap([{"id": 1, "sku": "a"}, {"id": 2, "sku": "b"}])

    @flow
    def for_all() -> None:
        cheaper([{"id": 1, "sku": "a", "name": "alpha"}, {"id": 2, "sku": "b", "name": "beta"}])

    with capture() as captured:
        tagged()
        with tags("xray/id: name", "nightly"):
            for_all()
    by_task, by_run = captured.run_ids
    assert captured.why("b", by_task).step == "cheap"
    assert captured.why("beta", by_run).step == "cheaper"


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
