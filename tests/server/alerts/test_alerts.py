"""A rule fires once and resolves once, at a real receiver, whatever is sent again and whoever is killed.

Tests alerts/delivery.py, engine.py, judge.py, messages.py, series.py, service.py, store.py, watch.py, webhook.py,
backends/relational/alerts.py, backends/sqlite/alerts.py and backends/postgres/alerts.py.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from xray_server.alerts.webhook import sign
from xray_server.backends import open_store
from xray_server.store import Store

from tests.live import health_of
from tests.server import postgresql
from tests.server.alerts.conftest import (
    SECRET,
    Receiver,
    add_rule,
    alerts_health,
    eventually,
    ingest,
    judged,
    run,
    step,
)


@pytest.fixture(scope="module")
def postgres_schema(postgres_url: str) -> Iterator[str]:
    with postgresql.schema(postgres_url) as url:
        open_store(url).close()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/xray.db"
    url: str = request.getfixturevalue("postgres_schema")
    postgresql.empty(url)
    return url


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    opened = open_store(database)
    yield opened
    opened.close()


def test_an_alert_fires_and_resolves_once_each_under_resends(allowed: httpx.Client, receiver: Receiver) -> None:
    add_rule(allowed, to=[receiver.url])
    bad, fine = step("r1", rejected=95, accepted=5, ago_s=60), step("r2", rejected=10, accepted=90, ago_s=30)
    for record in (bad, bad, fine, bad, fine, fine, bad):
        ingest(allowed, record)
        judged(allowed)
    eventually(lambda: len(receiver.told) >= 2, "not both messages came")
    judged(allowed)
    assert receiver.told == [("fired", "r1"), ("resolved", "r2")]


def test_a_message_has_the_figures_the_link_to_the_step_and_its_why(allowed: httpx.Client, receiver: Receiver) -> None:
    add_rule(allowed, to=[receiver.url], step="filter")
    sample = {"item_id": "p/7", "outcome": "rejected", "reason": "too_dear", "details": {"price": 9}}
    samples = {"v": 1, "kind": "samples", "run_id": "r1", "step_id": "r1.filter", "attempt": 0, "part": "a", "chunk": "0",
               "rev": 1, "samples": [sample]}  # fmt: skip
    ingest(allowed, samples, step("r1", rejected=95, accepted=5))
    eventually(lambda: receiver.requests, "no message came")
    body = receiver.bodies[0]
    assert body["link"] == "https://xray.example/ui/runs/r1/steps/r1.filter?attempt=0"
    assert body["why"]["sentence"] == "Step filter rejected 95 of 100 items (95.0%: too_dear 95), above 0.9."
    assert body["why"]["items"] == [{"item_id": "p/7", "link": "https://xray.example/ui/runs/r1/items/p%2F7"}]
    assert body["why"]["ledger"] == {"input": 100, "accepted": 5, "rejected": 95, "unaccounted": 0}
    for link in (body["link"], body["why"]["items"][0]["link"]):
        assert allowed.get(link.removeprefix("https://xray.example")).status_code == 200
    assert "price" not in json.dumps(body), "details are not for channels"


def test_a_webhook_is_signed_over_its_time_and_body(allowed: httpx.Client, receiver: Receiver) -> None:
    add_rule(allowed, to=[receiver.url])
    ingest(allowed, step("r1", rejected=95, accepted=5))
    eventually(lambda: receiver.requests, "no message came")
    headers, body = receiver.requests[0]
    at_s = int(headers["X-XRay-Timestamp"])
    assert abs(at_s - time.time()) < 60
    assert headers["X-XRay-Signature"] == sign(SECRET, at_s, body)
    assert headers["X-XRay-Signature"] != sign(SECRET, at_s + 1, body)
    assert headers["X-XRay-Event"] == json.loads(body)["event_id"]


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_server_that_ends_right_after_its_answer_and_the_next_one_tell_once(
    start_server: Callable[..., Any], receiver: Receiver, database: str, end: str
) -> None:
    """The records are sent again to the next server, as a client would. A SIGKILL between a POST and the note that it was
    answered sends that message again, under the same id: no sender can know better."""
    environ = {"XRAY_ALERTS_ALLOW_PRIVATE": "1"}
    server = start_server("--db", database, environ=environ)
    bad, fine = step("r1", rejected=95, accepted=5, ago_s=60), step("r2", rejected=10, accepted=90, ago_s=30)
    with httpx.Client(base_url=server.url, timeout=20) as http:
        add_rule(http, to=[receiver.url])
        ingest(http, bad)
    getattr(server, end)()
    server = start_server("--db", database, environ=environ)
    with httpx.Client(base_url=server.url, timeout=20) as http:
        ingest(http, bad, fine)
        eventually(lambda: ("resolved", "r2") in receiver.told, "not both messages came")
        ingest(http, bad, fine)
        judged(http)
        history = http.get("/alerts/history").json()["events"]
    assert [(event["kind"], event["run_id"]) for event in history] == [("resolved", "r2"), ("fired", "r1")]
    once = {body["event_id"]: (body["kind"], body["run_id"]) for body in receiver.bodies}
    assert list(once.values()) == [("fired", "r1"), ("resolved", "r2")]
    if end == "terminate":
        assert len(receiver.requests) == 2
    assert re.match(r"http://127\.0\.0\.1:\d+/ui/runs/r1/steps/r1\.filter", receiver.bodies[0]["link"])


def test_of_two_servers_on_one_database_one_judges_and_the_other_takes_over(
    start_server: Callable[..., Any], receiver: Receiver, postgres_url: str
) -> None:
    environ = {"XRAY_ALERTS_ALLOW_PRIVATE": "1"}
    with postgresql.schema(postgres_url) as database:
        first = start_server("--db", database, environ=environ)
        with httpx.Client(base_url=first.url, timeout=20) as http:
            add_rule(http, to=[receiver.url])
        second = start_server("--db", database, environ=environ)  # which knows the rule from its start
        with httpx.Client(base_url=second.url, timeout=20) as http:
            for n in range(10):
                ingest(http, step(f"bad-{n}", rejected=95, accepted=5, ago_s=90 - n, pipeline=f"shop {n}"))
            eventually(lambda: len(receiver.told) >= 10, "what the second took was not told of")
            first.kill()
            for n in range(10):
                ingest(http, step(f"fine-{n}", rejected=10, accepted=90, ago_s=60 - n, pipeline=f"shop {n}"))
            eventually(lambda: len({body["event_id"] for body in receiver.bodies}) >= 20, "nobody took over")
            judged(http)
    # what the first was sending when it was killed is sent again, as the same event
    once = {body["event_id"]: told for body, told in zip(receiver.bodies, receiver.told)}
    assert sorted(once.values()) == sorted(
        [("fired", f"bad-{n}") for n in range(10)] + [("resolved", f"fine-{n}") for n in range(10)]
    )


def test_a_receiver_that_fails_is_tried_again_and_told_in_order(allowed: httpx.Client, receiver: Receiver) -> None:
    receiver.answers = [(500, {}), (503, {}), (429, {})]
    add_rule(allowed, to=[receiver.url])
    ingest(allowed, step("r1", rejected=95, accepted=5, ago_s=60))
    ingest(allowed, step("r2", accepted=100, ago_s=30))
    eventually(lambda: len(receiver.told) >= 5, "not all tries came")
    assert receiver.told == [("fired", "r1")] * 4 + [("resolved", "r2")]
    assert len({body["event_id"] for body in receiver.bodies[:4]}) == 1
    eventually(lambda: alerts_health(allowed).get("sent") == 2, "not counted")
    fired = allowed.get("/alerts/history").json()["events"][1]
    assert fired["deliveries"] == [
        {"to": receiver.url.replace("/hook", "/***"), "status": "sent", "tries": 4, "note": None}
    ]


def test_a_redirect_is_not_followed(allowed: httpx.Client, receiver: Receiver) -> None:
    receiver.answers = [(307, {"Location": receiver.url + "/elsewhere"})] * 2
    add_rule(allowed, to=[receiver.url])
    ingest(allowed, step("r1", rejected=95, accepted=5))
    eventually(lambda: len(receiver.requests) >= 3, "it was not tried again")
    eventually(lambda: alerts_health(allowed).get("sent") == 1, "not counted")


def test_a_private_address_is_refused_unless_it_is_allowed(http: httpx.Client, receiver: Receiver) -> None:
    """The server of this fixture allows none: nothing reaches the receiver, and the history says why."""
    port = receiver.url.split(":")[2]
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
        add_rule(http, to=[f"http://{host}:{port}"])
    ingest(http, step("r1", rejected=95, accepted=5))
    eventually(lambda: alerts_health(http).get("given_up") == 7, "not all were given up")
    assert receiver.requests == []
    for event in http.get("/alerts/history").json()["events"]:
        assert event["deliveries"][0]["status"] == "given_up"
        assert "XRAY_ALERTS_ALLOW_PRIVATE=1" in event["deliveries"][0]["note"]


def test_within_the_cooldown_a_second_breach_is_kept_and_not_told(allowed: httpx.Client, receiver: Receiver) -> None:
    add_rule(allowed, to=[receiver.url], cooldown_s=3600)
    for i, rejected in enumerate((95, 5, 96, 6)):
        ingest(allowed, step(f"r{i}", rejected=rejected, accepted=100 - rejected, ago_s=100 - i))
        judged(allowed)
    kinds = [event["kind"] for event in allowed.get("/alerts/history").json()["events"]]
    assert kinds == ["suppressed", "resolved", "fired"]
    eventually(lambda: len(receiver.told) == 2, "not both messages came")


def test_a_sibling_of_the_same_run_does_not_resolve_and_a_later_attempt_does(
    allowed: httpx.Client, receiver: Receiver
) -> None:
    add_rule(allowed, to=[receiver.url], metric="failed", above=None, step="filter")
    ingest(allowed, step("r1", status="failed", step_id="a", ago_s=50))
    judged(allowed)
    ingest(allowed, step("r1", accepted=1, step_id="b", ago_s=40))
    judged(allowed)
    assert allowed.get("/alerts/rules").json()["rules"][0]["state"] == "firing"
    ingest(allowed, step("r1", accepted=1, step_id="a", attempt=1, ago_s=30))
    eventually(lambda: len(receiver.told) == 2, "not resolved")
    assert allowed.get("/alerts/rules").json()["rules"][0]["state"] == "ok"


@pytest.mark.parametrize(
    ("rule", "bad", "fine"),
    [
        ({"metric": "failed"}, run("r1", status="failed", ago_s=60), run("r2")),
        ({"metric": "duration", "above": 0.5}, run("r1", ago_s=60), run("r2", pipeline="other")),
        ({"metric": "duration", "above": 1000, "step_type": "filter"}, step("r1", duration_ms=2000, ago_s=60), step("r2")),
        ({"metric": "unaccounted"}, step("r1", accepted=9, lost=1, ago_s=60), step("r2", accepted=9)),
        ({"metric": "zero_output"}, step("r1", rejected=3, ago_s=60), step("r2", rejected=3, accepted=1)),
        ({"metric": "reason_share", "reason": "old", "above": 0.5}, step("r1", rejected=99, reasons={"old": 90}, ago_s=60),
         step("r2", rejected=99, reasons={"old": 9})),
        ({"metric": "rejection_rate", "below": 0.1}, step("r1", accepted=99, ago_s=60), step("r2", accepted=9, rejected=90)),
    ],
)  # fmt: skip
def test_every_metric_fires_and_resolves(
    allowed: httpx.Client, receiver: Receiver, rule: dict[str, Any], bad: dict[str, Any], fine: dict[str, Any]
) -> None:
    add_rule(allowed, **{"above": None, "to": [receiver.url], **rule})
    ingest(allowed, bad)
    eventually(lambda: receiver.told == [("fired", "r1")], "it did not fire")
    ingest(allowed, fine)
    judged(allowed)
    if fine["pipeline"] == bad["pipeline"]:
        eventually(lambda: receiver.told[1:] == [("resolved", "r2")], "it did not resolve")


def test_a_rule_of_another_pipeline_or_step_says_nothing(allowed: httpx.Client) -> None:
    for scope in ({"pipeline": "other"}, {"step": "other"}, {"step_type": "rank"}):
        add_rule(allowed, **scope)
    ingest(allowed, step("r1", rejected=95, accepted=5))
    judged(allowed)
    assert allowed.get("/alerts/history").json()["events"] == []


def test_small_and_old_steps_do_not_fire(allowed: httpx.Client) -> None:
    add_rule(allowed)
    ingest(allowed, step("small", rejected=3), step("old", rejected=100, ago_s=2 * 86_400))
    judged(allowed)
    assert allowed.get("/alerts/history").json()["events"] == []
    assert health_of(allowed)["alerts"]["too_late"] == 1
