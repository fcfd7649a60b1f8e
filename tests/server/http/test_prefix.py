"""Under a sub-path: every link, redirect, form, cookie and static file stays within it.

Tests http/prefix.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from xray_server.http.prefix import checked
from xray_server.store import Store

from tests.server.conftest import LoopbackServer
from tests.server.make_keys import create_keys
from xray_core.errors import ConfigurationError

STEP = {"name": "s", "step_id": "s", "step_type": "filter", "sampled_rejections": [{"item_id": "i", "reason": "late"}]}
FORWARDED = {"X-Forwarded-Prefix": "/tools/xray"}


@pytest.fixture(params=["stripped", "said by the option"])
def proxied(request: pytest.FixtureRequest, store: Store) -> Iterator[tuple[httpx.Client, str]]:
    """A client as a proxy would ask for it, and what it puts before a path."""
    stripped = request.param == "stripped"
    server = LoopbackServer(store, root_path="" if stripped else "/tools/xray/")
    with httpx.Client(base_url=server.url, timeout=20, headers=FORWARDED if stripped else {}) as http:
        yield http, "" if stripped else "/tools/xray"
    server.stop()


def test_nothing_on_any_page_leads_out_of_the_prefix(proxied: tuple[httpx.Client, str]) -> None:
    http, before = proxied
    for run_id in ("a", "b"):
        assert (
            http.post(
                f"{before}/runs", json={"run_id": run_id, "pipeline": "p", "tags": {"k": "v"}, "steps": [STEP]}
            ).status_code
            == 200
        )
    waiting, seen = ["/tools/xray/ui", "/tools/xray/ui/search?q=i", "/tools/xray/ui/none"], set()
    while waiting:
        address = waiting.pop()
        if address in seen or len(seen) > 120:
            continue
        seen.add(address)
        page = http.get(before + address.removeprefix("/tools/xray"))
        expected = {"/tools/xray/ui/none": 404, "/tools/xray/ui/search": 307}  # a search for nothing
        of_pages = address.startswith("/tools/xray/ui")
        # the API's reference links to paths that need parameters
        assert page.status_code in ({expected.get(address, 200)} if of_pages else {200, 422}), address
        if not page.headers.get("content-type", "").startswith("text/html"):
            continue
        for kind, link in re.findall(r'(href|src|action)="([^"]+)"', page.text):
            if link.startswith("/"):
                assert link.startswith("/tools/xray/"), (address, link)
                if kind != "action":  # a form's fields go with it
                    waiting.append(link.split("#")[0].replace("&amp;", "&"))
    for kind in (
        "/ui/runs/a",
        "/ui/steps",
        "/ui/alerts",
        "/ui/health",
        "/ui/compare",
        "/static/xray.css",
        "/items/i",
        "/steps/s",
    ):
        assert any(kind in address for address in seen), kind


def test_redirects_stay_within_it(proxied: tuple[httpx.Client, str]) -> None:
    http, before = proxied
    assert http.get(f"{before}/").headers["location"] == "/tools/xray/ui"
    assert http.get(f"{before}/ui/steps/?name=a").headers["location"] == "/tools/xray/ui/steps?name=a"
    http.post(f"{before}/runs", json={"run_id": "a", "pipeline": "p"})
    marked = http.post(f"{before}/ui/runs/a/mark", data={"mark": "good"})
    assert marked.headers["location"] == "/tools/xray/ui/runs/a"


def test_signing_in_works_under_it(store: Store) -> None:
    keys = create_keys(store)
    server = LoopbackServer(store)
    with httpx.Client(base_url=server.url, timeout=20, headers=FORWARDED) as http:
        asked = http.get("/ui/steps?name=s")
        assert asked.headers["location"].startswith("/tools/xray/ui/sign-in?next=%2Fui%2Fsteps")
        form = http.get(asked.headers["location"].removeprefix("/tools/xray"))
        assert 'action="/tools/xray/ui/sign-in"' in form.text
        signed = http.post(
            "/ui/sign-in",
            data={"key": keys.texts["read", "shop"], "next": "/ui/steps?name=s"},
            headers={"Origin": server.url},
        )
        assert signed.headers["location"] == "/tools/xray/ui/steps?name=s"
        cookie, _, about = signed.headers["set-cookie"].partition(";")
        assert "Path=/tools/xray;" in f"{about};"
        assert http.get("/ui/steps", headers={"Cookie": cookie}).status_code == 200
        left = http.post("/ui/sign-out", headers={"Cookie": cookie, "Origin": server.url})
        assert "Path=/tools/xray;" in f"{left.headers['set-cookie']};"
    server.stop()


@pytest.mark.parametrize(
    "given", ["//evil.example", "/a/../b", "/a b", "/<script>", "x", "/\\evil", "/" + "x" * 300, "/a//b"]
)
def test_what_is_no_path_is_no_prefix(http: httpx.Client, given: str) -> None:
    assert http.get("/", headers={"X-Forwarded-Prefix": given}).headers["location"] == "/ui"
    with pytest.raises(ConfigurationError, match="--root-path"):
        checked(given)
