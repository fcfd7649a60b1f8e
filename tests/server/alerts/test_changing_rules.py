"""Rules that are kept: changed, muted, tried, and a test message of each.

Tests alerts/apprise_target.py, messages.py, service.py, cli/alerts.py, http/alert_routes.py, pages/alerts.py and pages/dry_run.py.
"""

from __future__ import annotations

import hmac
import json

import httpx
import pytest

from tests.server.alerts.conftest import (
    RULE,
    SECRET,
    SLACK,
    Receiver,
    add_rule,
    eventually,
    ingest,
    needs_apprise,
    step,
)
from tests.server.conftest import LoopbackServer
from xray_core.cli import main as xray


@needs_apprise
def test_a_target_of_no_known_kind_is_refused_when_the_rule_is_made(http: httpx.Client) -> None:
    to = ["https://hooks.example/a", "no-such-service://T0KEN"]
    answer = http.post("/alerts/rules", json={**RULE, "to": to})
    assert (answer.status_code, answer.json()["detail"][0]["field"]) == (422, "to")
    assert "Apprise knows no such address" in answer.json()["error"]
    assert "T0KEN" not in answer.text
    assert http.get("/alerts/rules").json() == {"rules": []}
    page = http.post("/ui/alerts", data={"name": "n", "metric": "failed", "to": "slack://"})
    assert (page.status_code, "Apprise knows no such address" in page.text) == (422, True)


def test_without_apprise_only_webhooks_are_taken(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xray_server.alerts.apprise_target.installed", lambda: False)
    answer = http.post("/alerts/rules", json={**RULE, "to": [SLACK]})
    assert (answer.status_code, "pip install" in answer.json()["error"]) == (422, True)
    assert http.post("/alerts/rules", json={**RULE, "to": ["https://hooks.example/a"]}).status_code == 200


def test_a_test_message_says_what_became_of_it(allowed: httpx.Client, receiver: Receiver) -> None:
    rule_id = add_rule(allowed, to=[receiver.url, "http://127.0.0.1:1/closed"])
    answer = allowed.post(f"/alerts/rules/{rule_id}/send").json()["deliveries"]
    assert [each["sent"] for each in answer] == [True, False]
    assert answer[1]["note"]
    ((headers, body),) = receiver.requests
    told = json.loads(body)
    assert (told["kind"], told["title"], told["link"]) == (
        "test",
        "Test: too many",
        f"https://xray.example/ui/alerts/{rule_id}",
    )
    signed = f"{headers['X-XRay-Timestamp']}.".encode() + body
    assert headers["X-XRay-Signature"].endswith(hmac.new(SECRET.encode(), signed, "sha256").hexdigest())
    assert allowed.get("/alerts/history").json()["events"] == [], "a test is no history"
    page = allowed.post(f"/ui/alerts/{rule_id}/send").text
    assert f"<code>{receiver.url.rsplit('/', 1)[0]}/***</code> took it" in page
    assert allowed.post("/alerts/rules/none/send").status_code == 404


def test_a_muted_rule_sends_nothing_and_tells_the_history(allowed: httpx.Client, receiver: Receiver) -> None:
    rule_id = add_rule(allowed, to=[receiver.url])
    muted = allowed.post(f"/alerts/rules/{rule_id}/mute", params={"for_s": 3600}).json()
    assert (muted["muted"], muted["muted_until"] is not None) == (True, True)
    ingest(allowed, step("r1", rejected=95, accepted=5))
    eventually(lambda: allowed.get("/alerts/history").json()["events"], "it did not fire")
    (event,) = allowed.get("/alerts/history").json()["events"]
    assert (event["kind"], event["deliveries"]) == ("fired", [])
    assert allowed.post(f"/alerts/rules/{rule_id}/mute").json()["muted_until"] is None
    assert allowed.put(f"/alerts/rules/{rule_id}", json={**RULE, "to": [receiver.url]}).json()["muted"]
    assert not allowed.post(f"/alerts/rules/{rule_id}/mute", params={"for_s": 0}).json()["muted"]
    ingest(allowed, step("r2", rejected=5, accepted=95))
    eventually(lambda: receiver.requests, "no message came")
    assert receiver.told == [("resolved", "r2")]
    assert allowed.post(f"/alerts/rules/{rule_id}/mute", params={"for_s": -1}).status_code == 422


def test_an_edited_rule_keeps_what_is_not_given(allowed: httpx.Client, receiver: Receiver) -> None:
    rule_id = add_rule(allowed, to=[receiver.url])
    ingest(allowed, step("r1", rejected=95, accepted=5))
    eventually(lambda: receiver.requests, "no message came")
    (shown,) = allowed.get("/alerts/rules").json()["rules"]
    new = {"name": "renamed", "metric": "rejection_rate", "above": 0.9, "cooldown_s": 0, "to": shown["to"]}
    answer = allowed.put(f"/alerts/rules/{rule_id}", json=new).json()
    assert (answer["name"], answer["to"], answer["state"]) == ("renamed", shown["to"], "firing")
    ingest(allowed, step("r2", rejected=5, accepted=95))
    eventually(lambda: len(receiver.requests) == 2, "no second message came")
    assert receiver.bodies[1]["title"] == "Resolved: renamed"
    ingest(allowed, step("r3", rejected=95, accepted=5))
    eventually(lambda: len(receiver.requests) == 3, "no third message came")
    answer = allowed.put(f"/alerts/rules/{rule_id}", json={**new, "above": 0.99}).json()
    assert answer["state"] == "ok", "what fired under another bound says nothing"
    for wrong, field in (({**new, "to": ["https://other.example/***"]}, "to"), ({**new, "above": None}, "")):
        refused = allowed.put(f"/alerts/rules/{rule_id}", json=wrong)
        assert (refused.status_code, refused.json()["detail"][0]["field"] or "") == (422, field)
    assert allowed.put("/alerts/rules/none", json=new).status_code == 404


def test_the_page_of_a_rule_edits_mutes_and_draws_when_it_would_have_fired(
    allowed: httpx.Client, receiver: Receiver
) -> None:
    for i, rejected in enumerate((5, 95, 96, 4, 97)):
        ingest(allowed, step(f"r{i}", rejected=rejected, accepted=100 - rejected, ago_s=100_000 - i))
    tried = {"name": "n", "metric": "rejection_rate", "above": "0.9", "to": receiver.url, "do": "try"}
    page = allowed.post("/ui/alerts", data=tried).text
    assert "Would have fired 2 times" in page or "Would have fired 1 time" in page
    assert page.count('<circle class="breach"') == 3
    assert page.count('<circle class="fine"') == 2
    assert allowed.get("/alerts/rules").json() == {"rules": []}
    rule_id = add_rule(allowed, to=[receiver.url], window=30)
    path = f"/ui/alerts/{rule_id}"
    assert '<line class="limit"' in allowed.get(path).text
    shown = allowed.get("/alerts/rules").json()["rules"][0]
    form = {"name": "edited", "metric": "rejection_rate", "above": "0.8", "to": shown["to"][0], "cooldown_s": "60"}
    assert allowed.post(path, data=form).status_code == 303
    (rule,) = allowed.get("/alerts/rules").json()["rules"]
    assert (rule["name"], rule["above"], rule["window"], rule["cooldown_s"], rule["to"]) == (
        "edited",
        0.8,
        30,
        60,
        shown["to"],
    )
    wrong = allowed.post(path, data={**form, "above": "x"})
    assert (wrong.status_code, 'role="alert"' in wrong.text) == (422, True)
    assert allowed.post(f"{path}/mute", data={"hours": "8"}).status_code == 303
    assert "no message is sent before" in allowed.get(path).text
    assert allowed.post(f"{path}/mute", data={"hours": "9"}).status_code == 422
    assert allowed.get("/ui/alerts/none").status_code == 404


def test_the_command_line_edits_mutes_and_sends_a_test(
    server: LoopbackServer, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XRAY_API_URL", server.url)
    add_rule(http, to=[])
    assert xray(["alerts", "edit", "too many", "--above", "0.5", "--name", "half"]) == 0
    assert "changed half: rejection_rate above 0.5 anywhere" in capsys.readouterr().out
    assert xray(["alerts", "mute", "half", "--for", "8h"]) == 0
    assert "half is muted until 20" in capsys.readouterr().out
    assert xray(["alerts", "mute", "half"]) == 0
    assert "until you unmute it" in capsys.readouterr().out
    assert xray(["alerts", "unmute", "half"]) == 0
    assert "half is not muted" in capsys.readouterr().out
    assert xray(["alerts", "send", "half"]) == 0
    assert "it tells nobody" in capsys.readouterr().out
    assert xray(["alerts", "edit", "half", "--to", "http://127.0.0.1:9/x"]) == 0
    assert "warning: nothing will be delivered" in capsys.readouterr().err
    assert xray(["alerts", "send", "half"]) == 1
    assert "did not: 127.0.0.1 is at 127.0.0.1" in capsys.readouterr().out


def test_of_targets_that_look_alike_each_stays_what_it_was(allowed: httpx.Client, receiver: Receiver) -> None:
    other = receiver.url + "-other"
    rule_id = add_rule(allowed, to=[receiver.url, other])
    shown = allowed.get("/alerts/rules").json()["rules"][0]["to"]
    assert shown[0] == shown[1]
    kept = allowed.put(f"/alerts/rules/{rule_id}", json={**RULE, "above": 0.8, "to": shown})
    assert kept.status_code == 200, kept.text
    allowed.post(f"/alerts/rules/{rule_id}/send")
    assert receiver.paths == ["/hook", "/hook-other"]
    assert allowed.put(f"/alerts/rules/{rule_id}", json={**RULE, "to": [*shown, shown[0]]}).status_code == 422


def test_a_form_shows_a_bound_with_all_its_digits(http: httpx.Client) -> None:
    rule = {"name": "slow", "metric": "duration", "above": 1234567.25, "cooldown_s": 1000001}
    rule_id = http.post("/alerts/rules", json=rule).json()["rule_id"]
    page = http.get(f"/ui/alerts/{rule_id}").text
    assert ('value="1234567.25"' in page, 'value="1000001"' in page) == (True, True)
