"""What real applications' spans say of their documents: the dropped one is named, with the step that dropped it.

Tests otlp/documents.py, evidence.py, records.py and verdicts.py.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from xray_server.otlp.documents import Document, documents_in
from xray_server.store import Store

from tests.server.otlp import spans
from tests.server.otlp.applications import APPLICATIONS, Application

TOLD = [each for each in APPLICATIONS if not each.name.startswith("genai")]


def why(http: httpx.Client, run_id: str, item: str) -> Any:
    return http.get(f"/runs/{run_id}/items/{item}").raise_for_status().json()


@pytest.mark.parametrize("application", TOLD, ids=lambda each: each.name)
def test_why_names_the_step_at_which_a_real_application_dropped_a_document(
    http: httpx.Client, application: Application
) -> None:
    body = spans.recorded(application.name)
    spans.send(http, body)
    answer = why(http, spans.trace_id_of(body), application.dropped)
    assert (answer["outcome"], answer["reason"], answer["step"]) == ("not_selected", "not_in_output", application.at)
    assert answer["certainty"] == "exact"
    assert all(entry["inferred"] for entry in answer["journey"] if entry["outcome"])
    assert "(inferred: nobody said so)" in answer["sentence"]


@pytest.mark.parametrize("application", TOLD, ids=lambda each: each.name)
def test_what_an_application_kept_is_selected_and_what_it_never_found_never_entered(
    http: httpx.Client, application: Application
) -> None:
    body = spans.recorded(application.name)
    spans.send(http, body)
    run_id = spans.trace_id_of(body)
    ending = ".md" if application.dropped.endswith(".md") else ""
    kept = "b" if application.dropped == "a" else "a"
    assert why(http, run_id, kept + ending)["outcome"] == "selected"
    assert why(http, run_id, "no-such-document")["outcome"] == "never_entered"


def test_a_dialect_that_hides_what_was_left_out_inside_says_so_and_claims_nothing(http: httpx.Client) -> None:
    body = spans.recorded("genai-langchain")
    spans.send(http, body)
    run_id = spans.trace_id_of(body)
    dropped, kept = why(http, run_id, "b"), why(http, run_id, "a")
    assert dropped["outcome"] == "not_captured"
    assert "retrieval" in dropped["sentence"]
    assert "not what it left out inside" in dropped["sentence"]
    assert kept["outcome"] == "accepted"


def test_a_cut_off_is_told_where_the_scores_bear_it_out_and_not_where_they_do_not(http: httpx.Client) -> None:
    inner: Any = {"parent": 2, "scores": [0.9, 0.7, 0.5]}
    spans.send(http, spans.request(
        spans.retriever(1, "search", "abc", **inner), spans.retriever(2, "cut", "ab", scores=[0.9, 0.7], parent=9)))  # fmt: skip
    spans.send(http, spans.request(
        spans.retriever(1, "search", "abc", trace=2, **inner),
        spans.retriever(2, "cut", "ac", trace=2, scores=[0.9, 0.5], parent=9)))  # fmt: skip
    by_score = why(http, f"{1:032x}", "c")["journey"][-1]
    against_score = why(http, f"{2:032x}", "b")["journey"][-1]
    assert (by_score["score"], by_score["cutoff"]) == (0.5, {"item_id": "b", "score": 0.7})
    assert (against_score["score"], against_score["cutoff"]) == (0.7, None)


def test_a_rerankers_own_scores_are_not_compared_with_those_that_came_in(http: httpx.Client) -> None:
    documents = {
        "reranker.input_documents.0.document.id": "a", "reranker.input_documents.0.document.score": 0.9,
        "reranker.input_documents.1.document.id": "b", "reranker.input_documents.1.document.score": 0.8,
        "reranker.output_documents.0.document.id": "b", "reranker.output_documents.0.document.score": 0.02,
    }  # fmt: skip
    spans.send(http, spans.request(
        spans.span(1, "rerank", parent=9, **{"openinference.span.kind": "RERANKER"}, **documents)))  # fmt: skip
    answer = why(http, f"{1:032x}", "a")
    assert answer["outcome"] == "not_selected"
    assert answer["score"] is None
    assert answer["details"] == {"input_score": 0.9}
    assert answer["journey"][0]["cutoff"] == {"item_id": "b", "score": 0.02}


def test_a_fusion_of_two_searches_leaves_out_what_neither_order_of_arrival_changes(http: httpx.Client) -> None:
    inner = [spans.retriever(1, "words", "ab", parent=3), spans.retriever(2, "vectors", "bcd", parent=3)]
    fusion = spans.retriever(3, "fusion", "bd", parent=9)
    for each in (fusion, *inner):
        spans.send(http, spans.request(each))
    step = next(s for s in http.get(f"/runs/{1:032x}").json()["steps"] if s["name"] == "fusion")
    figures = ("input", "accepted", "not_selected", "unaccounted", "inferred", "flags")
    assert [step["ledger"][name] for name in figures] == [4, 2, 2, 0, True, []]
    assert [why(http, f"{1:032x}", item)["outcome"] for item in "abcd"] == [
        "not_selected", "selected", "not_selected", "selected",
    ]  # fmt: skip


def test_a_postprocessor_that_drops_everything_is_told_and_a_chain_that_returns_nothing_is_not(
    http: httpx.Client,
) -> None:
    nodes = {"nodes": ["<NodeWithScore(node=TextNode(id_=a), score=0.3)>"]}
    chain = {"openinference.span.kind": "CHAIN", "input.value": nodes, "output.value": []}
    spans.send(http, spans.request(
        spans.span(1, "Similarity._postprocess_nodes", parent=9, **chain),
        spans.span(1, "summarise", parent=9, trace=2, **chain)))  # fmt: skip
    assert why(http, f"{1:032x}", "a")["outcome"] == "not_selected"
    assert why(http, f"{2:032x}", "a")["outcome"] == "not_captured"


def test_documents_cut_by_the_limits_of_the_sdk_are_never_called_missing(http: httpx.Client) -> None:
    cut = spans.retriever(1, "search", "ab", parent=9, more={"droppedAttributesCount": 12})
    spans.send(http, spans.request(cut))
    assert why(http, f"{1:032x}", "a")["outcome"] == "accepted"
    answer = why(http, f"{1:032x}", "z")
    assert answer["outcome"] == "not_captured"
    assert "limits cut this span" in answer["sentence"]


def test_a_retriever_whose_contents_are_not_captured_says_what_to_switch_on(http: httpx.Client) -> None:
    spans.send(http, spans.request(spans.retriever(1, "search", "", parent=9)))
    answer = why(http, f"{1:032x}", "a")
    assert answer["outcome"] == "not_captured"
    step = http.get(f"/runs/{1:032x}").json()["steps"][0]
    assert "switched off" in step["metadata"]["result.items_unknown"]


def test_chunks_of_one_file_are_told_apart_by_their_place_or_their_text(http: httpx.Client) -> None:
    documents = [{"page_content": text, "metadata": {"source": "a.md", **place}}
                 for text, place in [("one", {"page": 1}), ("two", {"page": 2}), ("three", {}), ("four", {})]]  # fmt: skip
    chain = {"gen_ai.operation.name": "vector_db_retrieve", "gen_ai.task.output": {"documents": documents}}
    spans.send(http, spans.request(spans.span(1, "search", parent=9, **chain)))
    accepted = http.get(f"/runs/{1:032x}").json()["steps"][0]["acceptances"]
    ids = [each["item_id"] for each in sorted(accepted, key=lambda each: each["rank"])]
    assert ids[:2] == ["a.md:1", "a.md:2"]
    assert len(set(ids)) == 4
    assert ids[2].startswith("a.md#")


def test_documents_that_two_spans_name_differently_are_not_called_dropped(http: httpx.Client) -> None:
    spans.send(http, spans.request(
        spans.retriever(1, "search", "ab", parent=2), spans.retriever(2, "outer", "xy", parent=9)))  # fmt: skip
    assert why(http, f"{1:032x}", "a")["outcome"] == "accepted"


def test_chunks_that_share_an_id_are_compared_by_their_texts_over_spans_too(http: httpx.Client) -> None:
    def given(*texts: str) -> Any:
        documents = [{"page_content": text, "metadata": {"source": "a.md"}} for text in texts]
        return {"gen_ai.operation.name": "vector_db_retrieve", "gen_ai.task.output": {"documents": documents}}

    spans.send(http, spans.request(
        spans.span(1, "search", parent=2, **given("one", "two", "three")),
        spans.span(2, "compress", parent=9, **given("two"))))  # fmt: skip
    steps = {step["name"]: step for step in http.get(f"/runs/{1:032x}").json()["steps"]}
    assert (steps["compress"]["ledger"]["not_selected"], steps["compress"]["ledger"]["selected"]) == (2, 1)
    by_text = {each["details"]["text"]: each["item_id"] for each in steps["search"]["acceptances"]}
    outcomes = {text: why(http, f"{1:032x}", quote(item, safe=""))["outcome"] for text, item in by_text.items()}
    assert outcomes == {"one": "not_selected", "two": "selected", "three": "not_selected"}


def test_a_trace_over_two_services_is_one_run_of_the_service_that_began_it(http: httpx.Client) -> None:
    remote = {"flags": 0x300}
    entry = spans.request(
        spans.span(2, "rank", parent=1, at_ms=1, more=remote),
        spans.retriever(3, "search", "ab", parent=2),
        service="ranker",
    )
    spans.send(http, entry)
    alone = http.get(f"/runs/{1:032x}").json()
    assert (alone["pipeline"], alone["status"]) == ("ranker", "completed")
    failed = {"status": {"code": 2, "message": "no"}}
    spans.send(http, spans.request(spans.span(1, "GET /search", more=failed), service="shop"))
    run = http.get(f"/runs/{1:032x}").json()
    assert (run["pipeline"], run["status"], run["error"]["message"]) == ("shop", "failed", "no")
    assert {step["pipeline"] for step in run["steps"]} == {"ranker"}


def test_sets_that_were_derived_are_marked_as_inferred(http: httpx.Client, store: Store) -> None:
    body = spans.recorded("openinference-haystack")
    spans.send(http, body)
    steps = store.run_steps("default", spans.trace_id_of(body), limit=10).items
    assert all(given["inferred"] for step in steps for given in step.state["items"].values())


def test_a_document_whose_text_repeats_what_a_score_looks_like_is_read_in_time() -> None:
    text = "Document(id=a" + ", score: 1, a: " * 6_500 + "')"
    began = time.thread_time()
    assert documents_in([text]) == [Document("a")]
    assert documents_in(["Document(id=a, content: 'x', score: 0.5, embedding: vector of size 3)"]) == [
        Document("a", 0.5)
    ]
    assert time.thread_time() - began < 1  # half a millisecond; with a quadratic expression four seconds
