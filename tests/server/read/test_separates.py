"""What separates rejected items from others is the rule that was planted, measured on items that had no part in finding it.

Tests read/separates.py.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from xray_server.errors import NotKnownError
from xray_server.read.separates import separates
from xray_server.records.schema import decode_record
from xray_server.store import Batch, Store

from tests.core.capturing import Captured
from tests.live import Live
from xray_core import Client
from xray_core.cli import main

Item = dict[str, Any]


def items(n: int, seed: int = 1) -> list[Item]:
    chance = random.Random(seed)
    return [
        {"carrier": chance.choice(["DHL", "UPS", "GLS"]), "country": chance.choice(["DE", "FR"]), "price": chance.randint(0, 200),
         "noise": chance.random(), "express": chance.random() < 0.3}
        for _ in range(n)
    ]  # fmt: skip


def keep(
    store: Store, rejects: Callable[[Item], bool], *, n: int = 1_500, accept_details: bool = True, **settings: Any
) -> None:
    captured = Captured(**{"capture": "full", **settings})
    with captured.run("checkout", run_id="r") as run, run.step("slots") as step:
        for place, item in enumerate(items(n)):
            if rejects(item):
                step.reject(f"i{place}", "no_slot", item)
            else:
                step.accept(f"i{place}", details=item if accept_details else None)
    records = [decode_record(json.dumps(record).encode()) for record in captured.sink.records]
    assert store.write([Batch(records, "default", 1)]) == [{}]


def rules(store: Store, **more: Any) -> list[str]:
    return [each["words"] for each in separates(store, "default", step="slots", run_id="r", **more)["rules"]]


def test_one_limit_is_found_where_it_was_planted(store: Store) -> None:
    keep(store, lambda item: item["price"] > 120)
    found = separates(store, "default", step="slots", run_id="r")
    (rule,) = found["rules"]
    (condition,) = rule["conditions"]
    assert (condition["field"], condition["sign"]) == ("price", ">")
    assert 105 <= condition["value"] <= 132
    assert rule["coverage"] > 0.85
    assert rule["error"] < 0.2
    assert found["certainty"] == "estimated"


def test_two_conditions_together_and_two_rules_apart_are_told(store: Store) -> None:
    keep(store, lambda item: (item["carrier"] == "DHL" and item["country"] == "DE") or item["express"])
    found = rules(store)
    assert set(found[:2]) == {"express=True", "carrier=DHL and country=DE"}


def test_verdicts_by_chance_are_told_apart_by_nothing(store: Store) -> None:
    chance = random.Random(9)
    keep(store, lambda item: chance.random() < 0.3)
    found = separates(store, "default", step="slots", run_id="r")
    assert found["rules"] == []
    assert found["sentence"].startswith("nothing that was captured tells what slots rejected from what it let through")


def test_of_verdicts_by_chance_hardly_ever_a_rule_is_made() -> None:
    from xray_server.read.separates import Item as Row
    from xray_server.read.separates import _rules

    made = 0
    for seed in range(100):
        chance = random.Random(seed)
        rows = [Row(item, chance.random() < 0.3, 1.0, chance.randrange(2)) for item in items(200, seed)]
        made += bool(_rules(rows, {"carrier", "country", "price", "noise", "express"}))
    assert made <= 1


def test_a_rule_that_often_errs_says_how_often(store: Store) -> None:
    chance = random.Random(4)
    keep(store, lambda item: chance.random() < (0.8 if item["country"] == "DE" else 0.1))
    (rule,) = separates(store, "default", step="slots", run_id="r")["rules"]
    assert rule["words"] == "country=DE"
    assert abs(rule["error"] - 0.2) < 3 * rule["error_error"] + 0.02
    assert abs(rule["coverage"] - 0.89) < 3 * rule["coverage_error"] + 0.02


def test_samples_stand_for_what_they_were_drawn_from(store: Store) -> None:
    keep(store, lambda item: item["country"] == "DE", n=3_000, capture="sample", sample_rate=0.1)
    assert rules(store) == ["country=DE"]


def test_fields_that_only_the_rejected_have_are_no_ground(store: Store) -> None:
    keep(store, lambda item: item["country"] == "DE", accept_details=False)
    found = separates(store, "default", step="slots", run_id="r")
    assert (found["rules"], found["certainty"]) == ([], "not_captured")
    assert "give details to accept too" in found["sentence"]


def test_too_few_samples_say_so_and_a_step_that_is_not_there_is_named(store: Store) -> None:
    keep(store, lambda item: item["country"] == "DE", n=30)
    assert separates(store, "default", step="slots", run_id="r")["sentence"].startswith("too few samples")
    assert separates(store, "default", step="none")["certainty"] == "not_captured"
    with pytest.raises(NotKnownError, match="it has: slots"):
        separates(store, "default", step="none", run_id="r")


def test_the_command_and_the_client_ask_over_many_runs(
    live: Live, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_API_URL", live.url)
    monkeypatch.setenv("COLUMNS", "160")
    with live.xray("separated", capture="full") as xray:
        for seed in range(3):
            with xray.run() as run, run.step("slots of it") as step:
                for place, item in enumerate(items(200, seed)):
                    if item["country"] == "DE":
                        step.reject(f"{seed}-{place}", "no_slot", item)
                    else:
                        step.accept(f"{seed}-{place}", details=item)
    assert main(["separates", "--step", "slots of it", "--pipeline", "separated", "--reason", "no_slot"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("what slots of it rejected for no_slot: country=DE covers 100% of them, and 0%")
    assert "samples; not a cause" in shown
    with Client(live.url) as client:
        assert client.separates("slots of it", reason="another")["rules"] == []


def test_a_weight_that_no_client_would_send_is_no_error(store: Store) -> None:
    captured = Captured(capture="full")
    with captured.run("checkout", run_id="r") as run, run.step("slots") as step:
        for place, item in enumerate(items(600)):
            if item["express"]:
                step.reject(f"i{place}", "no_slot", item)
            else:
                step.accept(f"i{place}", details=item)
    sent = captured.sink.records
    for record in sent:
        for place, sample in enumerate(record.get("samples", ())):
            sample["weight"] = (1e308, -1.0)[place % 2]
    records = [decode_record(json.dumps(record).encode()) for record in sent]
    assert store.write([Batch(records, "default", 1)]) == [{}]
    assert "express=True" in rules(store)
