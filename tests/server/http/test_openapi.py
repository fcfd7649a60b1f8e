"""Whatever our own OpenAPI document allows, and much that it does not, is answered as it says: never with a 500."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from xray_server.access.admission import needed_scope
from xray_server.access.keys import SCOPES
from xray_server.store import Store

from tests.server.conftest import LoopbackServer
from tests.server.make_keys import create_keys


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_generated_request_to_every_endpoint_is_answered_as_documented(
    server: LoopbackServer, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    for operation in [each.ok() for each in schema.get_all_operations()]:
        if operation.label == "POST /ingest":  # NDJSON, which it cannot make: see below for lines
            continue
        if mode is GenerationMode.NEGATIVE and not list(operation.query) and not list(operation.body):
            continue  # nothing there to get wrong

        ask(server, operation, mode)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scope", [None, "ingest", "admin"])
def test_with_keys_every_generated_request_is_answered_as_documented_and_as_the_key_allows(
    store: Store, scope: str | None
) -> None:
    """Every endpoint of the document without a key, and with one of each scope."""
    keys = create_keys(store)
    server = LoopbackServer(store, rate_per_key_s=0)
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=keys.headers("read"))
    headers = keys.headers(scope) if scope else {}
    for operation in [each.ok() for each in schema.get_all_operations()]:
        if operation.label == "POST /ingest":
            continue
        needed = needed_scope(operation.method.upper(), operation.path)
        allowed = needed is None or (scope is not None and needed in SCOPES[scope])
        refused = set() if allowed else {403 if scope else 401}
        ask(server, operation, GenerationMode.POSITIVE, examples=2, headers=headers, statuses=refused)
    server.stop()


def ask(
    server: LoopbackServer,
    operation: Any,
    mode: GenerationMode,
    *,
    examples: int = 8,
    headers: dict[str, str] | None = None,
    statuses: Collection[int] = (),
) -> None:
    """Ask one operation; its answers are as documented, and of `statuses` where any are given (else neither 401 nor 403)."""

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.headers.pop("Authorization", None)
        response = case.call(base_url=server.url, headers=headers or {})
        if headers is not None:
            assert (response.status_code in statuses) if statuses else (response.status_code not in (401, 403))
        checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
        case.validate_response(response, checks=checks)

    each()


RECORDS: list[dict[str, Any]] = [
    {"v": 1, "kind": "run", "run_id": "r", "part": "a", "rev": 1, "pipeline": "p", "status": "completed", "started_us": 5,
     "tags": {"k": "v"}, "metadata": {"m": 1}, "origin": {"framework": "script", "ids": {"a": 1}}, "error": {"type": "E"}},
    {"v": 1, "kind": "step", "run_id": "r", "step_id": "s", "attempt": 1, "part": "a", "rev": 1, "name": "n", "index": 0,
     "counts": {"rejected": 1}, "reasons": {"rejected": {"no": 1}}, "sums": {"rejected": {"no": "ff"}}, "input_count": 3,
     "items": {"in": {"n": 3, "sum": "0f", "order": None, "distinct": 3, "nulls": 1, "key": ["a", "b"], "inferred": True, "rows": "1",
                      "columns": {"price": {"n": 3, "sum": "f", "min": 1, "max": 2.5, "total": 4, "abs": 4, "proj": [1, 2]}}},
               "others": {"customers": {"n": 1, "sum": "0", "source": "customers"}}, "links": [["doc", "chunk"]]},
     "score_sums": {"accepted": {"n": 1, "sum": "a"}}, "orders": {"accepted": "0a"}, "relation": "joined",
     "inference": {"skipped": "ambiguous", "keys": ["id", "sku"]}, "scores": {"accepted": {"min": [1, "i"], "max": [2, "j"]}},
     "decisions": [{"decision": "d", "selected": "i", "at_us": 3}], "upstream": ["x"], "duration_us": 4, "metadata": {}},
    {"v": 1, "kind": "verdicts", "run_id": "r", "step_id": "s", "attempt": 1, "part": "a", "chunk": "0",
     "sets": [{"outcome": "rejected", "reason": "no", "n": 1, "ids": ["i"]}]},
    {"v": 1, "kind": "samples", "run_id": "r", "step_id": "s", "attempt": 1, "part": "a", "chunk": "live", "rev": 1,
     "samples": [{"item_id": "i", "outcome": "rejected", "details": {"a": [1]}, "score": 1.5, "weight": 2, "at_us": 7}]},
    {"v": 1, "kind": "client", "part": "a", "rev": 1, "host": "h", "pid": 1, "counters": {"dropped": 1}},
]  # fmt: skip
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(allow_nan=False, allow_infinity=False),
              st.text(max_size=8), st.sampled_from(["failed", "rejected", "ff", "a"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["n", "ids", "sum", "in", "min", "x"]), inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_line_that_is_accepted_makes_a_question_fail(http: httpx.Client, data: st.DataObject) -> None:
    """Real records with fields replaced by anything, written over one another, then read by every endpoint."""
    lines = []
    for _ in range(data.draw(st.integers(1, 4))):
        record = dict(data.draw(st.sampled_from(RECORDS)))
        for name in data.draw(
            st.lists(st.sampled_from(sorted(record.keys() - {"v", "kind", "run_id", "step_id"})), max_size=2)
        ):
            record[name] = data.draw(_values)
        lines.append(json.dumps(record))
    answer = http.post("/ingest", content="\n".join(lines).encode("utf-8", "replace"))
    assert answer.status_code == 200
    assert answer.json()["accepted"] + len(answer.json()["refused"]) == len(lines)
    for path in ("/runs", "/steps", "/steps?reason=no", "/health", "/ui"):
        assert http.get(path).status_code == 200, path
    for path in ("/runs/r", "/ui/runs/r"):
        assert http.get(path).status_code in (200, 404), path


_number = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 5e-324, 1.7e308, -1.7e308])
_sums = st.fixed_dictionaries(
    {"n": st.integers(0, 10**12), "min": _number, "max": _number, "total": st.none() | _number}
)
_column = st.fixed_dictionaries(
    {"n": st.integers(0, 10**12)}, optional={"nulls": st.integers(0, 10**12), "min": _number, "max": _number, "total": _number}
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_whatever_scores_and_values_are_accepted_are_told_over_time_as_documented(
    server: LoopbackServer, http: httpx.Client
) -> None:
    """`/trends?numbers=true`, and its page, over steps of several parts with numbers of any size."""
    trends = schemathesis.openapi.from_url(f"{server.url}/openapi.json")["/trends"]["GET"]
    turn = itertools.count()

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        name = f"step {next(turn)}"
        step = {"v": 1, "kind": "step", "run_id": "r", "attempt": 1, "rev": 1, "name": name, "pipeline": "p", "started_us": 9}  # fmt: skip
        lines = [
            {**step, "step_id": f"{name} {number}", "part": part,
             "value_sums": {"rejected": {"dear": data.draw(_sums)}}, "score_sums": {"accepted": data.draw(_column)}}
            for number in range(2) for part in "ab"
        ]  # fmt: skip
        answer = http.post("/ingest", content="\n".join(map(json.dumps, lines)))
        assert answer.json()["refused"] == []
        asked = {"step": name, "numbers": "true", "since": "1970-01-01", "bucket": data.draw(st.sampled_from(["hour", "day"]))}  # fmt: skip
        checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
        found = trends.Case(query=asked).call_and_validate(base_url=server.url, checks=checks)
        (entry,) = found.json()["trends"]
        assert "Infinity" not in found.text
        assert "NaN" not in found.text
        assert entry["values"]["rejected"]["dear"]["n"] == sum(
            line["value_sums"]["rejected"]["dear"]["n"] for line in lines
        )
        for figure in ("score", "value"):
            page = http.get("/ui/trends", params={"figure": figure, "step": name, "since": "1970-01-01", "until": "1970-01-02"})  # fmt: skip
            assert page.status_code == 200
            assert "nan" not in page.text
            assert "inf" not in page.text

    each()
