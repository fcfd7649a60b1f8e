"""What begins with a text: in names with counts, in items, error texts and metadata as far back as there was time.

Tests read/text_search.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from xray_server.backends.open import open_store
from xray_server.read.text_search import search
from xray_server.records.schema import RunRecord, SamplesRecord, StepRecord, VerdictSet, VerdictsRecord, sample_text
from xray_server.store import Batch, Store

from tests.live import Live

NOW = 1_764_000_000_000_000


@pytest.fixture
def kept(database: str) -> Iterator[Store]:
    with closing(open_store(database)) as opened:
        yield opened


def records(n: int, **more: Any) -> list[Any]:
    run_id, at = f"run-{n}", NOW + n * 1_000_000
    error = {"type": "ValueError", "message": f"no airport {n % 2}", "traceback": None}
    return [
        RunRecord(v=1, run_id=run_id, part="a", rev=1, pipeline="flights", started_us=at, status="failed", error=error,
                  metadata={"model": f"v{n % 3}", "host": {"name": "alpha"}}),
        StepRecord(v=1, run_id=run_id, step_id="s", attempt=1, part="a", rev=1, name="filter", pipeline="flights",
                   started_us=at, status="failed", error=error, metadata={"model": f"v{n % 3}", "threshold": 0.5, "on": True}),
        VerdictsRecord(1, run_id, "s", [VerdictSet("rejected", 2, "late", [f"ua-{n}", "ua-all"])], 1, "a", "0"),
        SamplesRecord(1, run_id, "s", sample_text([{"item_id": "ua-sampled", "outcome": "rejected", "at_us": at}]), 1, "a", "live", 1),
    ]  # fmt: skip


def found(store: Store, text: str, **options: Any) -> dict[str, Any]:
    return search(store, "default", text, limit=50, **{"budget_ms": 10_000, **options})


def test_items_errors_and_metadata_are_found_by_their_beginning_and_counted(kept: Store) -> None:
    assert kept.write([Batch([record for n in range(6) for record in records(n)], "default", NOW)]) == [{}]
    items = {each["item_id"]: (each["runs"], each["run_id"]) for each in found(kept, "ua-")["items"]}
    assert items == {
        "ua-all": (6, "run-5"),
        "ua-sampled": (6, "run-5"),
        **{f"ua-{n}": (1, f"run-{n}") for n in range(6)},
    }

    def counts(text: str, kind: str) -> dict[str, tuple[int, int, str]]:
        return {each[kind]: (each["runs"], each["steps"], each["run_id"]) for each in found(kept, text)[kind + ("s" if kind == "error" else "")]}  # fmt: skip

    assert counts("model=v1", "metadata") == {"model=v1": (2, 2, "run-4")}
    assert counts("v", "metadata") == counts("model=", "metadata")
    assert set(counts("v", "metadata")) == {"model=v0", "model=v1", "model=v2"}
    assert counts("threshold=0", "metadata") == {"threshold=0.5": (0, 6, "run-5")}
    assert counts("host.name=alp", "metadata") == {"host.name=alpha": (6, 0, "run-5")}
    assert counts("on=t", "metadata") == {"on=true": (0, 6, "run-5")}
    assert counts("airport", "error") == counts("valueerror: no", "error")
    assert counts("no airport 1", "error") == {"ValueError: no airport 1": (3, 3, "run-5")}
    assert counts("irport", "error") == counts("error", "error") == {}, "in the middle of a word"
    assert found(kept, "flig")["pipelines"] == [{"name": "flights", "count": 6, "more": False}]
    assert found(kept, "run-")["run_count"] == 6
    assert found(kept, "ua-")["looked_back_to"] == {"items": None, "errors": None, "metadata": None}


def test_it_says_how_far_back_there_was_time_to_look(kept: Store) -> None:
    assert kept.write([Batch([record for n in range(80) for record in records(n)], "default", NOW)]) == [{}]
    ticks = count()
    answer = found(kept, "model=v", budget_ms=10_000, clock=lambda: float(next(ticks)))
    looked = answer["looked_back_to"]
    assert all(at is not None for at in looked.values())
    assert 5 < sum(each["steps"] for each in answer["metadata"]) < 20
    assert looked["metadata"] > "2025-11-24T16:00:00Z"
    assert answer["metadata"][0]["run_id"] in ("run-77", "run-78", "run-79"), "the newest first"


def test_what_is_found_is_the_projects_own(kept: Store) -> None:
    assert kept.write([Batch(records(1), "other", NOW)]) == [{}]
    for text in ("ua-", "model=", "ValueError", "flights", "run-1"):
        answer = found(kept, text)
        assert not any(
            answer[kind] for kind in ("runs", "items", "errors", "metadata", "pipelines", "steps", "reasons")
        )


def test_the_page_and_the_api_lead_to_what_the_real_client_wrote(live: Live) -> None:
    word = f"w{uuid4().hex}"
    with (
        live.xray(word) as xray,
        pytest.raises(RuntimeError),
        xray.run() as run,
        run.step("score", step_type="score") as step,
    ):
        step.set_metadata("model", f"{word}-v3")
        step.reject(f"{word}-item", f"{word}-reason")
        raise RuntimeError(f"{word} ran out")
    answer = live.get("/search", q=word[:20])
    for kind in ("pipelines", "reasons", "items", "errors", "metadata"):
        assert len(answer[kind]) == 1, kind
    page = live.http.get("/ui/search", params={"q": word[:20]}).text
    for said in (
        f"RuntimeError: {word} ran out",
        f"model={word}-v3",
        f"{word}-item",
        f"/ui/steps?reason={word}-reason",
    ):
        assert said in page, said
    assert f"/ui/runs/{run.run_id}/steps/{step.step_id}" in page


@pytest.mark.parametrize(("query", "field"), [({}, "q"), ({"q": ""}, "q"), ({"q": "a", "limit": 101}, "limit"),
                                              ({"q": "a", "budget_ms": "nan"}, "budget_ms"), ({"q": "a", "budget_ms": -1}, "budget_ms"),
                                              ({"q": "a", "kind": "x"}, "kind")])  # fmt: skip
def test_a_wrong_search_is_refused_with_the_field(live: Live, query: dict[str, Any], field: str) -> None:
    answer = live.http.get("/search", params=query)
    assert (answer.status_code, answer.json()["detail"][0]["field"]) == (422, field)
