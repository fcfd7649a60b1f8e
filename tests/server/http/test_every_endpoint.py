"""Every endpoint, with every kind of key and of either project: who gets in, and that nothing crosses projects.

An endpoint that is not in the table fails the first test: whoever adds one says here who may use it.

Tests app.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from xray_server.access.admission import needed_scope
from xray_server.access.keys import SCOPES
from xray_server.alerts.rules import Rule, StoredRule
from xray_server.alerts.store import KeepsAlerts
from xray_server.app import create_app
from xray_server.store import Store

from tests.live import health_of
from tests.server.conftest import LoopbackServer
from tests.server.make_keys import PROJECTS, Keys, create_keys

RUN, STEP, ITEM, RULE = "run-of-shop", "step-of-shop", "item-of-shop", "rule-of-shop"
MARK = "shopsecret"  # in every name, reason and value of the first project


class Endpoint(NamedTuple):
    """`scope` a key needs (None: open to all), an address to ask, and what to send."""

    scope: str | None
    address: str
    body: str | None = None


NDJSON = json.dumps({"v": 1, "kind": "run", "part": "a", "rev": 1, "run_id": "new", "pipeline": "p"})
TABLE: dict[tuple[str, str], Endpoint] = {
    ("POST", "/ingest"): Endpoint("ingest", "/ingest", NDJSON),
    ("POST", "/v1/traces"): Endpoint("ingest", "/v1/traces", "{}"),
    ("POST", "/mcp"): Endpoint("read", "/mcp", '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'),
    ("POST", "/runs"): Endpoint("ingest", "/runs", '{"run_id": "new", "pipeline": "p"}'),
    ("POST", "/runs/{run_id:id}/mark"): Endpoint("admin", f"/runs/{RUN}/mark", '{"mark": "good"}'),
    ("DELETE", "/runs/{run_id:id}"): Endpoint("admin", f"/runs/{RUN}-3"),
    ("DELETE", "/items/{item_id:id}"): Endpoint("admin", f"/items/{ITEM}-3"),
    ("POST", "/ui/runs/{run_id:id}/items/{item_id:id}/delete"): Endpoint(
        "admin", f"/ui/runs/{RUN}/items/{ITEM}-4/delete", "sure=yes"
    ),
    ("POST", "/ui/runs/{run_id:id}/delete"): Endpoint("admin", f"/ui/runs/{RUN}-4/delete", "sure=yes"),
    ("GET", "/runs"): Endpoint("read", "/runs"),
    ("GET", "/runs/{run_id:id}"): Endpoint("read", f"/runs/{RUN}"),
    ("GET", "/steps"): Endpoint("read", "/steps"),
    ("GET", "/search"): Endpoint("read", f"/search?q={MARK[:7]}"),
    ("GET", "/runs/{run_id:id}/items/{item_id:id}"): Endpoint("read", f"/runs/{RUN}/items/{ITEM}"),
    ("GET", "/runs/{run_id:id}/items"): Endpoint("read", f"/runs/{RUN}/items?reason={MARK}-reason"),
    ("GET", "/runs/{run_id:id}/whatif"): Endpoint("read", f"/runs/{RUN}/whatif?step={STEP}"),
    ("GET", "/ui/runs/{run_id:id}/whatif"): Endpoint("read", f"/ui/runs/{RUN}/whatif?step={STEP}"),
    ("GET", "/runs/{a:id}/diff/{b:id}"): Endpoint("read", f"/runs/{RUN}/diff/{RUN}-2"),
    ("GET", "/items/{item_id:id}"): Endpoint("read", f"/items/{ITEM}"),
    ("GET", "/separates"): Endpoint("read", "/separates?step=filter"),
    ("GET", "/stability"): Endpoint("read", "/stability?pipeline=shop"),
    ("GET", "/diff"): Endpoint("read", f"/diff?runs={RUN},{RUN}-2"),
    ("GET", "/runs/{run_id:id}/above"): Endpoint("read", f"/runs/{RUN}/above?a={ITEM}&b=other"),
    ("GET", "/ui/stability"): Endpoint("read", "/ui/stability?pipeline=shop"),
    ("GET", "/ui/trends"): Endpoint("read", "/ui/trends?pipeline=shop"),
    ("GET", "/ui/separates"): Endpoint("read", "/ui/separates?step=filter"),
    ("GET", "/ui/runs/{run_id:id}/above"): Endpoint("read", f"/ui/runs/{RUN}/above?a={ITEM}&b=other"),
    ("GET", "/ui/runs-side-by-side"): Endpoint("read", f"/ui/runs-side-by-side?runs={RUN},{RUN}-2"),
    ("GET", "/groups/diff"): Endpoint("read", "/groups/diff?a=until=2025-10-09&b=since=2025-10-09"),
    ("GET", "/ui/groups"): Endpoint("read", "/ui/groups?a=until=2025-10-09&b=since=2025-10-09"),
    ("GET", "/decisions"): Endpoint("read", "/decisions?limit=5"),
    ("GET", "/trends"): Endpoint("read", "/trends?since=2025-10-01T00:00:00Z&until=2025-10-20T00:00:00Z"),
    ("GET", "/alerts/rules"): Endpoint("read", "/alerts/rules"),
    ("POST", "/alerts/rules"): Endpoint("admin", "/alerts/rules", '{"name": "n", "metric": "failed"}'),
    ("POST", "/alerts/test"): Endpoint("admin", "/alerts/test", '{"name": "n", "metric": "failed"}'),
    ("GET", "/alerts/rules/{rule_id:id}/test"): Endpoint("read", f"/alerts/rules/{RULE}/test?since=2025-10-01"),
    ("PUT", "/alerts/rules/{rule_id:id}"): Endpoint(
        "admin", f"/alerts/rules/{RULE}", f'{{"name": "{MARK}-rule", "metric": "failed"}}'
    ),
    ("POST", "/alerts/rules/{rule_id:id}/mute"): Endpoint("admin", f"/alerts/rules/{RULE}/mute"),
    ("POST", "/alerts/rules/{rule_id:id}/send"): Endpoint("admin", f"/alerts/rules/{RULE}/send"),
    ("GET", "/ui/alerts/{rule_id:id}"): Endpoint("read", f"/ui/alerts/{RULE}?since=30d"),
    ("POST", "/ui/alerts/{rule_id:id}"): Endpoint("admin", f"/ui/alerts/{RULE}", f"name={MARK}-rule&metric=failed"),
    ("POST", "/ui/alerts/{rule_id:id}/mute"): Endpoint("admin", f"/ui/alerts/{RULE}/mute", "hours=0"),
    ("POST", "/ui/alerts/{rule_id:id}/send"): Endpoint("admin", f"/ui/alerts/{RULE}/send", ""),
    ("DELETE", "/alerts/rules/{rule_id:id}"): Endpoint("admin", f"/alerts/rules/{RULE}"),
    ("GET", "/alerts/history"): Endpoint("read", "/alerts/history"),
    ("GET", "/health"): Endpoint(None, "/health"),
    ("GET", "/ready"): Endpoint(None, "/ready"),
    ("GET", "/metrics"): Endpoint("metrics", "/metrics"),
    ("GET", "/openapi.json"): Endpoint("read", "/openapi.json"),
    ("GET", "/docs"): Endpoint("read", "/docs"),
    ("GET", "/"): Endpoint("read", "/"),
    ("GET", "/ui"): Endpoint("read", "/ui"),
    ("GET", "/ui/runs/{run_id:id}"): Endpoint("read", f"/ui/runs/{RUN}"),
    ("GET", "/ui/runs/{run_id:id}/steps"): Endpoint("read", f"/ui/runs/{RUN}/steps?name={MARK}-name"),
    ("GET", "/ui/runs/{run_id:id}/steps/{step_id:id}"): Endpoint("read", f"/ui/runs/{RUN}/steps/{STEP}"),
    ("GET", "/ui/runs/{run_id:id}/items/{item_id:id}"): Endpoint("read", f"/ui/runs/{RUN}/items/{ITEM}"),
    ("GET", "/ui/runs/{run_id:id}/items"): Endpoint("read", f"/ui/runs/{RUN}/items"),
    ("GET", "/ui/items/{item_id:id}"): Endpoint("read", f"/ui/items/{ITEM}"),
    ("GET", "/ui/steps"): Endpoint("read", "/ui/steps"),
    ("GET", "/ui/alerts"): Endpoint("read", "/ui/alerts"),
    ("POST", "/ui/alerts"): Endpoint("admin", "/ui/alerts", "name=n&metric=failed"),
    ("POST", "/ui/runs/{run_id:id}/mark"): Endpoint("admin", f"/ui/runs/{RUN}/mark", "mark=good"),
    ("POST", "/ui/alerts/remove"): Endpoint("admin", "/ui/alerts/remove", "rule_id=none"),
    ("GET", "/ui/compare"): Endpoint("read", f"/ui/compare?a={RUN}&b={RUN}-2"),
    ("GET", "/ui/search"): Endpoint("read", f"/ui/search?q={ITEM}"),
    ("GET", "/ui/health"): Endpoint("read", "/ui/health"),
    ("GET", "/ui/sign-in"): Endpoint(None, "/ui/sign-in"),
    ("POST", "/ui/sign-in"): Endpoint(None, "/ui/sign-in", "key="),
    ("POST", "/ui/sign-out"): Endpoint(None, "/ui/sign-out", ""),
    ("*", "/static"): Endpoint(None, "/static/xray.css"),
}  # fmt: skip
READS = [endpoint for (method, _), endpoint in TABLE.items() if method == "GET" and endpoint.scope == "read"]


def declared(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every (method, path) of an application; what is no plain route is (`*`, path)."""
    for route in routes:
        methods = getattr(route, "methods", None)
        for method in sorted(methods - {"HEAD"}) if methods else ["*"]:
            yield method, prefix + getattr(route, "path", repr(route))


def test_every_endpoint_is_in_the_table_and_the_server_agrees_who_may_use_it(store: Store) -> None:
    app = create_app(store)
    app.state.committer.close()
    assert set(declared(app.routes)) == set(TABLE), "say in TABLE what a key needs for the endpoint you added"
    for (method, _), endpoint in TABLE.items():
        assert needed_scope(method, endpoint.address.split("?")[0]) == endpoint.scope, endpoint


def test_what_nobody_opened_is_closed() -> None:
    assert needed_scope("GET", "/new") == "read"
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"):
        assert needed_scope(method, "/new") == "admin"
        assert needed_scope(method, "/runs/r") == "admin"
    assert needed_scope("GET", "/metrics") == "metrics"
    assert needed_scope("GET", "/health/") == "read"
    assert needed_scope("POST", "/ingest/") == "admin"


def of_shop(run_id: str) -> list[dict[str, Any]]:
    common = {"v": 1, "part": "a", "rev": 1, "run_id": run_id}
    step = {**common, "step_id": STEP, "attempt": 1}
    at_us = 1_760_000_000_000_000
    return [
        {**common, "kind": "run", "pipeline": f"{MARK}-pipeline", "status": "completed", "started_us": at_us,
         "tags": {"k": f"{MARK}-tag"}, "metadata": {"m": f"{MARK}-metadata"}, "input": f"{MARK}-input"},
        {**step, "kind": "step", "name": f"{MARK}-name", "pipeline": f"{MARK}-pipeline", "step_type": "filter", "index": 0,
         "started_us": at_us, "counts": {"rejected": 3}, "reasons": {"rejected": {f"{MARK}-reason": 3}}, "input_count": 3},
        {**step, "kind": "verdicts", "chunk": "0",
         "sets": [{"outcome": "rejected", "reason": f"{MARK}-reason", "n": 3, "ids": [ITEM, f"{ITEM}-3", f"{ITEM}-4"],
                   "values": "AAAAAAAA8D8AAAAAAADwPwAAAAAAAPA/", "limit": 0}]},
        {**step, "kind": "samples", "chunk": "live",
         "samples": [{"item_id": ITEM, "outcome": "rejected", "reason": f"{MARK}-reason", "details": {"d": f"{MARK}-detail"}, "at_us": at_us}]},
        {**common, "kind": "client", "part": f"{MARK}-client", "host": f"{MARK}-host", "pid": 1, "counters": {"dropped_counts": 4711}},
    ]  # fmt: skip


class Case(NamedTuple):
    http: httpx.Client
    keys: Keys


@pytest.fixture
def case(store: Store) -> Iterator[Case]:
    keys = create_keys(store)
    if isinstance(store, KeepsAlerts):
        rule = Rule(name=f"{MARK}-rule", metric="zero_output", to=[f"https://{MARK}.example/"])
        store.alert_store().add_rule(StoredRule(rule_id=RULE, project=PROJECTS[0], created_us=1, rule=rule))
    server = LoopbackServer(store, keys_fresh_s=0)
    with httpx.Client(base_url=server.url, timeout=20) as http:
        body = "\n".join(
            json.dumps(line) for run_id in (RUN, f"{RUN}-2", f"{RUN}-3", f"{RUN}-4") for line in of_shop(run_id)
        )
        answer = http.post("/ingest", content=body, headers=keys.headers("ingest"))
        assert answer.json() == {"accepted": 20, "refused": []}
        yield Case(http, keys)
    server.stop()


def ask(case: Case, method: str, endpoint: Endpoint, headers: dict[str, str]) -> httpx.Response:
    if endpoint.address == "/mcp":
        headers = {**headers, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    return case.http.request(
        "GET" if method == "*" else method, endpoint.address, content=endpoint.body, headers=headers
    )


def test_every_endpoint_lets_in_whom_the_table_says_and_nobody_else(case: Case) -> None:
    """Every endpoint x no key, a wrong one, a revoked one, one cut off, and each scope."""
    text = case.keys.texts["admin", PROJECTS[0]]
    wrong = ["", "Bearer", f"Bearer {text[:-1]}", f"Bearer {text}x", f"Basic {text}", f"Bearer {case.keys.revoked}",
             f"Bearer {text[:14]}{'A' * 43}", "Bearer \xff"]  # fmt: skip
    for (method, path), endpoint in TABLE.items():
        for value in wrong:
            answer = ask(case, method, endpoint, {"Authorization": value.encode("latin-1")} if value else {})  # type: ignore[dict-item]
            if endpoint.scope is None:
                assert answer.status_code in (200, 303, 401), (method, path)  # 401: the form, for an empty key
            elif method == "GET" and (path.startswith("/ui") or path in ("/", "/docs")):
                assert answer.status_code == 303, (method, path, value)
                assert answer.headers["location"].startswith("/ui/sign-in?next=%2F")
            else:
                assert answer.status_code == 401, (method, path, value)
                assert answer.headers["www-authenticate"].startswith("Bearer")
            assert MARK not in answer.text
        for scope, allowed in SCOPES.items():
            answer = ask(case, method, endpoint, case.keys.headers(scope))
            if endpoint.scope is None:
                assert answer.status_code in (200, 303, 401), (method, path, scope)
            elif endpoint.scope in allowed:
                assert answer.status_code in (200, 303, 307), (method, path, scope, answer.text)
            else:
                assert answer.status_code == 403, (method, path, scope)
                assert endpoint.scope in answer.json()["error"]
                assert MARK not in answer.text


def test_nothing_of_one_project_is_seen_by_the_other(case: Case) -> None:
    """The other project's key gets, for every address of ours, what it gets for one that nobody has."""
    for endpoint in READS:
        theirs = case.http.get(endpoint.address, headers=case.keys.headers("read", PROJECTS[1]))
        assert MARK not in theirs.text.replace(f"{MARK}-name", "" if "name=" in endpoint.address else MARK), endpoint
        assert "4711" not in theirs.text
        nobodys = endpoint.address.replace("of-shop", "of-none")
        absent = case.http.get(nobodys, headers=case.keys.headers("read", PROJECTS[1]))
        assert theirs.status_code == absent.status_code
        if "health" not in endpoint.address:  # it holds an uptime
            assert theirs.text.replace("of-shop", "of-none") == absent.text, endpoint
    seen = "".join(case.http.get(each.address, headers=case.keys.headers("read")).text for each in READS)
    for what in ("pipeline", "tag", "metadata", "input", "name", "reason", "detail", "host", "rule"):
        assert f"{MARK}-{what}" in seen, f"the data holds no {what} to be kept apart"


def test_health_shows_the_figures_of_all_projects_to_admins_only(case: Case) -> None:
    assert case.http.get("/health").json() == {"status": "ok"}
    assert case.http.get("/health", headers=case.keys.headers("ingest")).json() == {"status": "ok"}
    read = health_of(case.http, headers=case.keys.headers("read"))
    assert read["store"] == {"kind": "sqlite"}
    assert set(read["ingest"]) == {"lag_s"}
    assert case.http.get("/ui/health", headers=case.keys.headers("read")).status_code == 200
    admin = health_of(case.http, headers=case.keys.headers("admin", PROJECTS[1]))
    assert admin["store"]["runs"] == 4
    assert admin["clients"] == []


def test_the_project_comes_from_the_key_and_the_same_run_id_in_two_projects_is_two_runs(case: Case) -> None:
    body = {"run_id": RUN, "pipeline": "theirs", "project": PROJECTS[0], "status": "failed"}
    refused = case.http.post("/runs", json=body, headers=case.keys.headers("ingest", PROJECTS[1]))
    body.pop("project")
    sent = case.http.post("/runs?project=shop", json=body, headers=case.keys.headers("ingest", PROJECTS[1]))
    assert sent.status_code == 422
    sent = case.http.post("/runs", json=body, headers={**case.keys.headers("ingest", PROJECTS[1]), "X-Project": "shop"})
    assert sent.status_code == 200
    assert refused.status_code in (200, 422)
    ours = case.http.get(f"/runs/{RUN}", headers=case.keys.headers("read")).json()
    theirs = case.http.get(f"/runs/{RUN}", headers=case.keys.headers("read", PROJECTS[1])).json()
    assert (ours["pipeline"], ours["status"]) == (f"{MARK}-pipeline", "completed")
    assert (theirs["pipeline"], theirs["status"]) == ("theirs", "failed")
