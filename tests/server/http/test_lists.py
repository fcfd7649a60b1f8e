"""Lists are bounded, and every answer is carried as HTTP has it: HEAD, OPTIONS, entity tags, gzip, each parameter once.

Tests read/heads.py, http/representation.py and the bound in bytes of backends/relational/lists.py.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from xray_server.backends import open_store
from xray_server.read import heads

from tests.server.conftest import LoopbackServer
from xray_core import Client

FAT = {f"k{i}": "v" * 1000 for i in range(3_000)}  # 3 MB, a hundredth of it when compressed
N = 6


@pytest.fixture
def fat(database: str) -> Iterator[httpx.Client]:
    """A server with runs whose values are large."""
    with closing(open_store(database)) as store:
        server = LoopbackServer(store)
        with httpx.Client(base_url=server.url, timeout=60) as http:
            for i in range(N):
                step = {"name": "s", "step_type": "filter", "input": FAT}
                http.post("/runs", json={"run_id": f"fat{i}", "pipeline": "fat", "metadata": FAT, "steps": [step]})
            yield http
        server.stop()


def test_lists_carry_heads_of_large_values_and_say_how_large_the_whole_is(fat: httpx.Client) -> None:
    for path, field in (("/runs?pipeline=fat&limit=1000", "metadata"), ("/steps?pipeline=fat&limit=1000", "input")):
        answer = fat.get(path)
        rows = answer.json()["runs" if path.startswith("/runs") else "steps"]
        assert len(rows) == N, "none is lost to the bound"
        assert len(answer.content) < N * 20_000
        for row in rows:
            assert row["truncated"] == {field: len(json.dumps(FAT, separators=(",", ":")))}
            assert 0 < len(row[field]) < 10
            assert row[field]["k0"].startswith("vvv")
    assert fat.get("/runs/fat0").json()["metadata"] == FAT, "the answer about one run is whole"


def test_fields_are_answered_whole_and_the_page_ends_where_it_is_heavy(fat: httpx.Client) -> None:
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        answer = fat.get("/runs?pipeline=fat&fields=run_id,metadata" + (f"&cursor={cursor}" if cursor else ""))
        assert len(answer.content) < 16 * 1024 * 1024
        for row in answer.json()["runs"]:
            assert set(row) == {"run_id", "metadata"}
            assert row["metadata"] == FAT
            seen.append(row["run_id"])
        cursor, pages = answer.json()["next_cursor"], pages + 1
    assert sorted(seen) == [f"fat{i}" for i in range(N)]
    assert pages > 1
    wrong = fat.get("/runs?fields=run_id,nothing")
    assert wrong.status_code == 422
    assert "nothing" in wrong.json()["error"]
    assert "started_at" in wrong.json()["error"], "it says which there are"


def test_the_page_of_runs_stays_small_when_they_are_fat(fat: httpx.Client) -> None:
    assert len(fat.get("/ui?pipeline=fat").content) < 200_000


def test_a_small_value_is_whole_and_a_head_has_the_kind_of_its_value() -> None:
    assert heads.row({"a": 1, "b": {"c": [1, 2]}}) == {"a": 1, "b": {"c": [1, 2]}, "truncated": {}}
    for value in (
        "x" * 100_000,
        ["x" * 1000] * 1000,
        {"a": {"b": {"c": {"d": {"e": {"f": "x" * 9000}}}}}},
        list(range(9999)),
    ):
        made = heads.head(value)
        assert type(made) is type(value)
        assert 0 < len(json.dumps(made)) < 2 * heads.HEAD_BYTES


@pytest.mark.parametrize(
    "path", ["/runs", "/runs/r", "/steps", "/ui", "/ui/runs/r", "/static/xray.css", "/openapi.json", "/health"]
)
def test_head_says_what_get_would_and_sends_no_body(http: httpx.Client, path: str) -> None:
    http.post("/runs", json={"run_id": "r", "pipeline": "p"})
    asked = {"accept-encoding": "identity"}
    full, head = http.get(path, headers=asked), http.head(path, headers=asked)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == full.headers["content-type"]
    if path not in ("/ui", "/ui/runs/r", "/health"):  # ages and uptimes
        assert head.headers["content-length"] == str(len(full.content))
        assert head.headers["etag"] == full.headers["etag"]


def test_head_of_nothing_is_404(http: httpx.Client) -> None:
    assert http.head("/runs/none").status_code == 404
    assert http.head("/no/such/path").status_code == 404


def test_options_names_the_methods_of_a_path_and_so_does_405(http: httpx.Client) -> None:
    for path, methods in (
        ("/runs", "GET, HEAD, OPTIONS, POST"),
        ("/ingest", "OPTIONS, POST"),
        ("/ui", "GET, HEAD, OPTIONS"),
    ):
        answer = http.options(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, methods, b"")
        assert http.request("PATCH", path).headers["allow"] == methods
    assert http.options("/no/such/path").status_code == 404


def test_an_answer_that_did_not_change_is_304(http: httpx.Client) -> None:
    http.post("/runs", json={"run_id": "r", "pipeline": "p"})
    tag = http.get("/runs").headers["etag"]
    for given in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        same = http.get("/runs", headers={"if-none-match": given})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    http.post("/runs", json={"run_id": "r2", "pipeline": "p"})
    changed = http.get("/runs", headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_what_is_large_comes_compressed_to_who_takes_it(http: httpx.Client) -> None:
    for i in range(20):
        http.post("/runs", json={"run_id": f"r{i}", "pipeline": "p"})
    plain = http.get("/runs", headers={"accept-encoding": "identity"})
    refused = http.get("/runs", headers={"accept-encoding": "gzip;q=0"})
    with http.stream("GET", "/runs", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert len(raw) == int(answer.headers["content-length"]) < len(plain.content) / 5
    assert gzip.decompress(raw) == plain.content == refused.content
    assert "content-encoding" not in refused.headers
    assert "content-encoding" not in http.get("/ready").headers, "what is small is not worth it"


@pytest.mark.parametrize(
    "path",
    ["/runs?status=failed&status=completed", "/steps?name=a&name=b", "/ui?q=a&q=b", "/decisions?reason=a&reason=b"],
)
def test_a_parameter_given_twice_is_refused_by_name(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    name = path.partition("?")[2].partition("=")[0]
    assert answer.status_code == 422
    assert f"{name}: given more than once" in answer.text
    assert http.get("/decisions?details.x_gt=1&details.x_lt=2&details.x_gt=0").status_code == 200


def test_an_error_is_a_page_to_a_browser_and_one_shape_to_a_program(http: httpx.Client) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/no/such/path", "/runs/none", "/runs?limit=none", "/ui/runs/none", "/static/none.css"):
        page = http.get(path, headers=browser)
        assert page.headers["content-type"].startswith("text/html"), path
        if not path.startswith("/ui"):
            error = http.get(path)
            assert error.status_code == page.status_code
            assert set(error.json()) == {"error", "detail"}


def test_a_zone_whose_plus_was_not_escaped_is_read_and_messages_are_in_our_words(http: httpx.Client) -> None:
    http.post(
        "/runs", json={"run_id": "r", "pipeline": "p", "status": "completed", "started_at": "2026-01-01T00:00:00Z"}
    )
    for since, n in (
        ("2026-01-01T05:29:59+05:30", 1),
        ("2026-01-01T05:30:01+05:30", 0),
        ("2026-01-01T05:29:59%2B05:30", 1),
    ):
        assert len(http.get(f"/runs?since={since}").json()["runs"]) == n, since
    for path in ("/runs?since=soon", "/runs?fields=nothing", "/decisions?since=soon"):
        assert "Value error" not in http.get(path).text


@pytest.mark.parametrize("run_id", [".", "..", "...", "a/..", "../b"])
def test_ids_that_look_like_directories_can_be_asked_for_and_followed(http: httpx.Client, run_id: str) -> None:
    step = {
        "name": "s",
        "step_id": "..",
        "step_type": "filter",
        "sampled_rejections": [{"item_id": ".", "reason": "late"}],
    }
    assert http.post("/runs", json={"run_id": run_id, "pipeline": "p", "steps": [step]}).status_code == 200
    links = re.findall(r'href="(/ui/runs/[^"?]+)"', http.get("/ui").text)
    (link,) = set(links)
    page = http.get(link)
    assert page.status_code == 200
    assert f'data-copy="{run_id}"' in page.text
    (step_link,) = {each for each in re.findall(r'href="([^"?#]+)', page.text) if each.startswith(f"{link}/steps/")}
    page = http.get(step_link)
    assert page.status_code == 200
    (item_link,) = {each for each in re.findall(r'href="([^"?#]+)', page.text) if each.startswith(f"{link}/items/")}
    assert http.get(item_link).status_code == 200
    assert Client(str(http.base_url)).run(run_id).run_id == run_id
