"""The pages as they are served: bounded whatever a run holds, warnings that say what to do, forms that leave fields empty.

Tests pages/charts.py, compare.py, formatting.py, routes.py, run.py, search.py and views.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from xray_server.times import iso

MAX_PAGE_BYTES = 200_000


def ingest(http: httpx.Client, *records: dict[str, Any]) -> None:
    lines = "\n".join(json.dumps({"v": 1, "part": "a", "rev": 1, **record}) for record in records)
    assert http.post("/ingest", content=lines.encode()).json()["refused"] == []


def step(run_id: str, n: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "step", "run_id": run_id, "step_id": f"s{n}", "attempt": 1, "pipeline": "p", "name": f"step {n}", "index": n,
        "status": "completed", "started_us": 1_760_000_000_000_000 + n, "duration_us": 900, "input_count": 1000,
        "counts": {"rejected": 500, "accepted": 500}, "reasons": {"rejected": {f"reason {i}": 10 for i in range(50)}}, **more,
    }  # fmt: skip


@pytest.mark.parametrize(("steps", "names"), [(1_000, 1_000), (5_000, 1)], ids=["1000 names", "5000 mapped"])
def test_a_run_of_thousands_of_steps_is_grouped_and_paged(http: httpx.Client, steps: int, names: int) -> None:
    ingest(http, {"kind": "run", "run_id": "big", "pipeline": "p", "status": "completed"})
    for start in range(0, steps, 1000):
        ingest(http, *(step("big", n, name=f"step {n % names}") for n in range(start, start + 1000)))
    for path in ("/ui", "/ui/runs/big", "/ui/runs/big?view=timeline", "/ui/runs/big?view=graph", "/ui/steps",
                 "/ui/runs/big/steps?name=step%200", "/ui/runs/big/steps/s7", "/ui/runs/big/items/i7",
                 "/ui/runs/big?item=i7"):  # fmt: skip
        answer = http.get(path)
        assert answer.status_code == 200, path
        assert len(answer.content) < MAX_PAGE_BYTES, path
    text = http.get("/ui/runs/big").text
    assert f"{steps:,} steps" in text
    if names > 1:
        assert "more steps →" in text
        assert "step 60<" in http.get("/ui/runs/big?offset=60").text
    else:
        assert "More steps →" in http.get("/ui/runs/big/steps?name=step%200").text


def test_a_page_stays_small_when_every_value_is_large(http: httpx.Client) -> None:
    long = "long " * 3000
    ingest(
        http,
        {"kind": "run", "run_id": "r", "pipeline": "p", "status": "failed", "input": {"a": long}, "output": [long],
         "error": {"type": "E", "message": long, "traceback": long}, "metadata": {"m": long}},
        *(step("r", n, error={"type": "E", "message": long, "traceback": long}, input=long, output=long) for n in range(100)),
        {"kind": "samples", "run_id": "r", "step_id": "s0", "attempt": 1, "chunk": "1",
         "samples": [{"item_id": f"i{n}", "outcome": "rejected", "reason": "x", "details": {f"d{k}": long[:1000] for k in range(6)},
                      "weight": 1.0, "at_us": n} for n in range(400)]},
    )  # fmt: skip
    for path in ("/ui/runs/r", "/ui/runs/r/steps/s0", "/ui/runs/r/items/i3", "/ui", "/ui/steps?name=step%200"):
        assert len(http.get(path).content) < MAX_PAGE_BYTES, path


def test_warnings_say_what_is_wrong_and_what_to_do(http: httpx.Client) -> None:
    ingest(
        http,
        step("orphan", 0, counts={"accepted": 3}, reasons={}, input_count=10, dropped={"decisions": 7}),
        step("orphan", 1, counts={"rejected": 30}, reasons={}, input_count=10, capture="minimal"),
    )
    text = http.get("/ui/runs/orphan").text
    assert "xray sync" in text  # the run itself never arrived
    assert "7 items went in and nothing says what became of them" in text
    assert "step.reject(id, reason)" in text
    assert "The counts cannot both be right" in text
    assert "7 decisions beyond the first 100" in text
    assert "Captured at level minimal: step 1" in text


def test_health_flags_what_a_client_lost_and_not_what_it_sent(http: httpx.Client) -> None:
    ingest(
        http,
        {"kind": "client", "host": "h", "pid": 1, "pipeline": "p", "counters": {"sent": 240, "dropped_details": 7}},
    )
    text = http.get("/ui/health").text
    assert '<span class="flag">dropped details 7</span>' in text
    assert "XRAY_SPOOL_MAX_BYTES" in text
    assert "sent 240" not in text
    assert ">240<" in text


def test_forms_may_leave_fields_empty_and_a_wrong_one_is_named(http: httpx.Client) -> None:
    assert http.get("/ui?pipeline=&status=&since=&q=").status_code == 200
    assert http.get("/ui/steps?name=&step_type=&rejection_rate_gt=&since=").status_code == 200
    assert http.get("/ui/runs/none?item=").status_code == 404
    answer = http.get("/ui?status=nonsense")
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert "status: Input should be" in answer.text


def test_no_page_needs_an_inline_script_or_style_or_anything_from_outside(http: httpx.Client) -> None:
    ingest(http, {"kind": "run", "run_id": "r", "pipeline": "p", "status": "completed"}, step("r", 0))
    for path in ("/ui", "/ui/runs/r", "/ui/runs/r/steps/s0", "/ui/health", "/ui/steps", "/ui/search?q=r0", "/docs"):
        answer = http.get(path)
        text = answer.text
        assert " style=" not in text
        assert "<style" not in text
        assert text.count("<script") == text.count('<script type="module" src="/static/xray.js?')
        assert "https://" not in text.replace("https://json-schema.org", "")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_address_alone_makes_the_page(http: httpx.Client) -> None:
    """Sorting, filtering and paging are in the link, so that it can be shared."""
    samples = [{"item_id": f"i{n:02}", "outcome": "rejected", "reason": f"r{n % 2}", "details": {"price": (n * 7) % 40},
                "weight": 1.0, "at_us": n} for n in range(40)]  # fmt: skip
    ingest(http, {"kind": "run", "run_id": "r", "pipeline": "p", "status": "completed"}, step("r", 0),
           {"kind": "samples", "run_id": "r", "step_id": "s0", "attempt": 1, "chunk": "1", "samples": samples})  # fmt: skip
    text = http.get("/ui/runs/r/steps/s0?sort=-details.price&reason=r1").text
    assert "1–20 of" not in text
    shown = [line for line in text.split('href="/ui/runs/r/items/')[1:] if line.startswith("i")]
    prices = [samples[int(each[1:3])]["details"]["price"] for each in shown[-20:]]
    assert prices == sorted(prices, reverse=True)
    assert "26–40 of 40" in http.get("/ui/runs/r/steps/s0?sort=item&offset=25").text


def test_every_bar_of_a_trend_lies_inside_its_chart(http: httpx.Client) -> None:
    hour_us = 3_600_000_000
    start = 1_760_000_000_000_000
    for hours in (1, 7, 47, 61, 500):
        at = [start, start + hours * hour_us]
        name = f"over {hours} hours"
        ingest(http, *(step(f"trend {hours}", n, name=name, started_us=at[n], step_id=f"s{n}") for n in (0, 1)))
        until = iso(at[1] + hour_us)
        text = http.get("/ui/steps", params={"name": name, "since": iso(start), "until": until}).text
        bars = re.findall(r'class="hit" x="([-0-9.]+)%" width="([0-9.]+)%"', text)
        assert len(bars) == 2, name
        assert all(float(x) >= 0 and float(x) + float(width) <= 100 for x, width in bars), name


ODD: list[Any] = [
    7,
    True,
    "a",
    [],
    {},
    ["a", 5, None, [1]],
    {"id": "a"},
    [{"item_id": {"b": 1}}, {"item_id": "b", "score": "x"}],
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_any_value_in_a_field_that_takes_any_is_shown(http: httpx.Client, odd: Any) -> None:
    decision = {
        "decision": odd if isinstance(odd, str) else None,
        "selected": odd,
        "score": odd,
        "alternatives": odd,
        "details": odd,
    }
    of_any = odd if isinstance(odd, dict) else {"k": odd}
    posted = {"run_id": "r", "pipeline": "p", "metadata": of_any, "tags": of_any, "input": odd, "output": odd, "error": of_any,
              "steps": [{"name": "s", "step_id": "s", "decisions": [decision, {}], "input": odd, "metadata": of_any, "error": of_any}]}  # fmt: skip
    assert http.post("/runs", json=posted).status_code == 200
    ingest(
        http,
        {"kind": "run", "run_id": "q", "origin": {"url": "http://x/"}, "parent": {}, "client": of_any, "metadata": {"xray.mark_note": odd}},
        {"kind": "step", "run_id": "q", "step_id": "s", "attempt": 1, "origin": {"ids": of_any}, "inference": of_any,
         "sampling": {"rate": odd, "per_reason": odd}, "scores": {"selected": {"min": [0.5, "a"]}}, "decisions": [{"selected": odd}]},
        {"kind": "verdicts", "run_id": "q", "step_id": "s", "attempt": 1, "sets": [{"outcome": "in", "n": 1, "ids": ["a"]}]},
        {"kind": "samples", "run_id": "q", "step_id": "s", "attempt": 1,
         "samples": [{"item_id": f"i{n}", "outcome": "rejected", "score": score} for n, score in enumerate((1e308, -1e308, 0.0, 1.0))]},
    )  # fmt: skip
    for path in ("runs/r", "runs/r/steps/s", "runs/r/steps?name=s", "runs/q", "runs/q?view=graph", "runs/q/steps/s",
                 "runs/r/items/a", "items/a", "compare?a=r&b=q"):  # fmt: skip
        assert http.get(f"/ui/{path}").status_code == 200, path
    assert http.get("/ui").status_code == http.get("/runs/r/diff/q").status_code == 200
