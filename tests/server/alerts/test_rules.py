"""Rules by API, command line and page: what is kept, what is refused, what is never shown again.

Tests alerts/apprise_target.py, dry_run.py, targets.py, cli/alerts.py, http/alert_routes.py and pages/alerts.py.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest
from xray_server.alerts.targets import foreseen_refusal, is_public, masked

from tests.server.alerts.conftest import (
    RULE,
    SECRET,
    SLACK,
    Receiver,
    add_rule,
    alerts_health,
    eventually,
    ingest,
    judged,
    needs_apprise,
    step,
)
from tests.server.conftest import LoopbackServer
from xray_core.cli import main as xray


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"above": None}, "needs `above` or `below`"),
        ({"above": 90}, "from 0 to 1"),
        ({"metric": "failed"}, "has no bounds"),
        ({"metric": "reason_share"}, "`reason`"),
        ({"metric": "guess"}, "metric"),
        ({"to": ["example.org/hook"]}, "not an address"),
        ({"to": ["https://user:word@example.org/"]}, "without a user"),
        ({"secret": "short"}, "secret"),
        ({"surprise": 1}, "surprise"),
        ({"name": ""}, "name"),
    ],
)
def test_a_wrong_rule_is_refused_in_words(http: httpx.Client, fields: dict[str, Any], said: str) -> None:
    answer = http.post("/alerts/rules", json={**RULE, **fields})
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert http.get("/alerts/rules").json() == {"rules": []}


@needs_apprise
def test_secrets_are_shown_once_and_targets_masked(http: httpx.Client) -> None:
    made = http.post(
        "/alerts/rules", json={**RULE, "secret": None, "to": ["https://hooks.example/T0KEN", SLACK]}
    ).json()
    assert len(made["secret"]) == 64
    ingest(http, step("r1", rejected=95, accepted=5))
    judged(http)
    eventually(lambda: http.get("/alerts/history").json()["events"], "it did not fire")
    for path in ("/alerts/rules", "/alerts/history", "/ui/alerts", f"/alerts/rules/{made['rule_id']}/test", "/health"):
        text = http.get(path).text
        assert made["secret"] not in text
        assert "T0KEN" not in text
        assert SLACK[8:] not in text
    assert masked("https://hooks.example:8443/T0KEN?x=y") == "https://hooks.example:8443/***"


def test_a_target_that_says_itself_that_it_is_private_is_kept_with_a_warning(
    server: LoopbackServer, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ["https://hooks.example/a", "http://10.0.0.7/T0KEN", "http://localhost:9/T0KEN", "https://[2606:4700::1]/b"]
    never = {"step": "never", "to": to}
    warnings = http.post("/alerts/rules", json={**RULE, **never}).json()["warnings"]
    assert [each.split(",")[0] for each in warnings] == [
        "nothing will be delivered to 10.0.0.7",
        "nothing will be delivered to localhost",
    ]
    assert [foreseen_refusal(each, allow_private=True) for each in to] == [None] * 4
    form = {"name": "a", "metric": "unaccounted", "step": "never", "to": " ".join(to)}
    assert "XRAY_ALERTS_ALLOW_PRIVATE=1 on the server allows it" in http.post("/ui/alerts", data=form).text

    monkeypatch.setenv("XRAY_API_URL", server.url)
    assert (
        xray(["alerts", "add", "too many", "rejection_rate", "--above", "0.9", "--to", "http://127.0.0.1:9/T0KEN"]) == 0
    )
    assert "warning: nothing will be delivered to 127.0.0.1" in capsys.readouterr().err
    ingest(http, step("r1", rejected=95, accepted=5))
    eventually(lambda: alerts_health(http).get("given_up"), "it was not tried")
    assert xray(["alerts", "history"]) == 0
    assert "http://127.0.0.1:9/*** given up (127.0.0.1 is at 127.0.0.1, which is not" in capsys.readouterr().out


def test_what_would_have_fired_is_told_without_sending(allowed: httpx.Client, receiver: Receiver) -> None:
    for i, rejected in enumerate((5, 95, 96, 4, 97)):
        ingest(allowed, step(f"r{i}", rejected=rejected, accepted=100 - rejected, ago_s=100_000 - i))
    answer = allowed.post("/alerts/test", params={"since": "7d"}, json={**RULE, "to": [receiver.url]}).json()
    assert [(each["kind"], each["run_id"]) for each in answer["events"]] == [
        ("fired", "r1"),
        ("resolved", "r3"),
        ("fired", "r4"),
    ]
    assert (answer["fired"], answer["judged"], answer["complete"]) == (2, 5, True)
    assert allowed.post("/alerts/test", params={"since": "1h"}, json=RULE).json()["judged"] == 0
    assert receiver.requests == []
    assert allowed.get("/alerts/rules").json() == {"rules": []}


def test_what_another_bound_would_have_done_is_what_a_rule_with_that_bound_does(
    server: LoopbackServer, allowed: httpx.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, rejected in enumerate((5, 95, 96, 4, 97, 60, 89)):
        ingest(allowed, step(f"r{i}", rejected=rejected, accepted=100 - rejected, ago_s=100_000 - i))
    rule_id = add_rule(allowed)
    path = f"/alerts/rules/{rule_id}/test"
    plain = allowed.get(path).json()
    assert (plain["whatif"], plain["range"]) == (None, [0.04, 0.97])
    assert [each["run_id"] for each in plain["near"]["breach"]] == ["r1", "r2", "r4"]
    assert [each["run_id"] for each in plain["near"]["fine"][:2]] == ["r6", "r5"]
    for bound in (0.0, 0.04, 0.5, 0.88, 0.955, 0.97, 1.0):
        found = allowed.get(path, params={"above": bound}).json()
        truth = allowed.post("/alerts/test", json={**RULE, "above": bound}).json()
        assert found["whatif"]["fired"] == {"was": plain["fired"], "now": truth["fired"]}
        assert found["whatif"]["breaches"] == {"was": plain["breaches"], "now": truth["breaches"]}
        differ = [a["run_id"] for a, b in zip(plain["points"], truth["points"]) if a["state"] != b["state"]]
        assert sorted(each["run_id"] for each in found["whatif"]["changes"]) == sorted(differ)
        assert {**found, "whatif": None} == plain
    wrong = allowed.get(path, params={"above": 2})
    assert (wrong.status_code, wrong.json()["detail"][0]["field"]) == (422, "above")
    page = allowed.get(f"/ui/alerts/{rule_id}", params={"above": "0.5", "below": ""}).text
    assert "would have fired" in page
    assert "Nearest to the bound it has" in page
    monkeypatch.setenv("XRAY_API_URL", server.url)
    assert xray(["alerts", "test", RULE["name"], "--above", "0.88"]) == 0
    shown = capsys.readouterr().out
    assert "run r6: 0.89 was fine, would be breach" in shown
    assert "above 0.88 anywhere: would have fired 3 times, not 2 (4 breaches, not 3)" in shown
    changed = add_rule(allowed, name="other", metric="changed_rate", above=None, step=None)
    assert "has no bounds" in allowed.get(f"/alerts/rules/{changed}/test", params={"above": 0.5}).text
    assert "What if the bound" not in allowed.get(f"/ui/alerts/{changed}").text


def test_a_removed_rule_says_nothing_more(allowed: httpx.Client, receiver: Receiver) -> None:
    rule_id = add_rule(allowed, to=[receiver.url])
    assert allowed.delete(f"/alerts/rules/{rule_id}").json() == {"removed": rule_id}
    assert allowed.delete(f"/alerts/rules/{rule_id}").status_code == 404
    ingest(allowed, step("r1", rejected=95, accepted=5))
    judged(allowed)
    assert allowed.get("/alerts/history").json()["events"] == []


def test_the_command_line_adds_lists_tests_and_removes(
    server: LoopbackServer, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XRAY_API_URL", server.url)
    ingest(http, step("r1", rejected=95, accepted=5))
    add = ["alerts", "add", "too many", "rejection_rate", "--above", "0.9", "--step", "filter", "--cooldown", "15m"]
    assert xray([*add, "--dry-run"]) == 0
    assert "would have fired 1 time since" in capsys.readouterr().out
    assert xray([*add, "--to", "https://hooks.example/T0KEN"]) == 0
    out = capsys.readouterr().out
    assert "rejection_rate above 0.9 in step filter" in out
    assert "secret" in out
    assert xray(["alerts", "list"]) == 0
    assert "too many: rejection_rate above 0.9 in step filter -> https://hooks.example/***" in capsys.readouterr().out
    assert xray(["alerts", "test", "too many", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fired"] == 1
    assert xray(["alerts", "test", "another"]) == 1
    assert xray(["alerts", "add", "x", "rejection_rate"]) == 2
    assert "needs `above` or `below`" in capsys.readouterr().err
    assert xray(["alerts", "history"]) == 0
    assert xray(["alerts", "remove", "too many"]) == 0
    assert http.get("/alerts/rules").json() == {"rules": []}


def test_the_page_adds_shows_and_removes(http: httpx.Client) -> None:
    form = {
        "name": "<b>too many",
        "metric": "rejection_rate",
        "above": "0.9",
        "to": "https://hooks.example/T0KEN",
        "step": "",
    }
    wrong = http.post("/ui/alerts", data={**form, "above": "90"})
    assert wrong.status_code == 422
    assert "from 0 to 1" in wrong.text
    page = http.post("/ui/alerts", data=form)
    assert page.status_code == 200
    assert "not shown again" in page.text
    ingest(http, step("r1", rejected=95, accepted=5))
    eventually(lambda: "Firing now" in http.get("/ui/alerts").text, "it did not fire")
    page = http.get("/ui/alerts")
    assert "&lt;b&gt;too many" in page.text
    assert "<b>too many" not in page.text
    assert "/ui/runs/r1/steps/r1.filter?attempt=0" in page.text
    rule_id = http.get("/alerts/rules").json()["rules"][0]["rule_id"]
    assert "Nothing is watched yet" in http.post("/ui/alerts/remove", data={"rule_id": rule_id}).text
    assert http.get("/alerts/rules").json() == {"rules": []}
    elsewhere = http.post("/ui/alerts", data=form, headers={"Origin": "https://evil.example"})
    assert elsewhere.status_code == 403


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1",
                                     "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::"])  # fmt: skip
def test_no_spelling_of_a_private_address_is_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are_public() -> None:
    assert all(map(is_public, ("1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")))


@needs_apprise
def test_apprise_delivers_what_people_read(allowed: httpx.Client, receiver: Receiver) -> None:
    add_rule(allowed, to=[receiver.url.replace("http://", "json://")])
    ingest(allowed, step("r1", rejected=95, accepted=5))
    eventually(lambda: receiver.requests, "no message came", within_s=60)
    body = receiver.bodies[0]
    assert body["title"] == "FIRING: too many"
    assert "Step filter rejected 95 of 100 items" in body["message"]
    assert "https://xray.example/ui/runs/r1/steps/r1.filter?attempt=0" in body["message"]


@needs_apprise
def test_apprise_may_not_reach_a_private_address_or_start_a_program(http: httpx.Client, receiver: Receiver) -> None:
    add_rule(http, to=[receiver.url.replace("http://", "json://")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        datagrams.settimeout(0.01)
        add_rule(http, to=[f"rsyslog://127.0.0.1:{datagrams.getsockname()[1]}/daemon"])
        ingest(http, step("r1", rejected=95, accepted=5))
        eventually(lambda: alerts_health(http).get("given_up") == 2, "not all were given up", within_s=60)
        with pytest.raises(TimeoutError):
            datagrams.recv(100)
    assert receiver.requests == []
    notes = [each["note"] for event in http.get("/alerts/history").json()["events"] for each in event["deliveries"]]
    assert sorted(note.split(";")[0] for note in notes) == [
        "it leads to an address that is not public",
        "it leads to an address that is not public",
    ]
    assert SECRET not in "".join(notes)
