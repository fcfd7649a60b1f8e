"""Row 40, places: a credential is in the clear nowhere in what is captured; and an item whose id is one is still found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.capturing import Captured
from tests.core.objects import made_up_secrets
from xray_core import Origin, verdicts
from xray_core.objects import redaction
from xray_core.objects.redaction import REDACTED, masked_item_id
from xray_core.testing import capture

SECRET = made_up_secrets.secret(0)
DRAWN = made_up_secrets.random_part(0)


def everything(captured: Captured) -> str:
    return json.dumps(captured.sink.records) + "".join(repr(payload) for _, payload in captured.sink.payloads)


class Boom(Exception):
    pass


_PLACES = [
    "run id", "pipeline", "tag key", "tag value", "bare tag", "metadata key", "metadata value", "run input", "run output", "code version",
    "step name", "step type", "step metadata key", "step metadata", "step input", "step input key", "step output", "reason", "details",
    "details key", "item id", "many item ids", "item set", "decision", "selected", "alternative", "decision details", "score text", "error",
    "error source", "error details", "deep",
]  # fmt: skip


@pytest.mark.parametrize("level", ["minimal", "sample", "full"])
@pytest.mark.parametrize("place", _PLACES)
def test_row_40_no_place_keeps_a_secret(place: str, level: str) -> None:
    captured = Captured(capture=level)

    def at(where: str, otherwise: Any = "x") -> Any:
        return SECRET if where == place else otherwise

    run = captured.run(
        at("pipeline"),
        run_id=at("run id"),
        tags={at("tag key"): at("tag value")} if place != "bare tag" else [SECRET],
        metadata={at("metadata key"): at("metadata value")},
        code_version=at("code version"),
    )
    try:
        with run:
            run.set_input({"q": f"find {at('run input')} please"})
            with run.step(
                at("step name"), at("step type"), metadata={at("step metadata key"): at("step metadata")}
            ) as step:
                step.set_input({at("step input key"): at("step input")})
                step.set_input_items([at("item set"), "b"])
                step.reject(at("item id"), at("reason"), {at("details key"): [at("details")]}, score=0.5)
                step.reject_many([*(f"i{n}" for n in range(1_200)), at("many item ids")], "duplicate")
                step.decide(
                    at("decision"),
                    at("selected", "s"),
                    alternatives=[at("alternative", "t")],
                    details={"d": at("decision details")},
                )
                step.accept("y", None, {"score": at("score text")})
                step.set_output({"a": {"b": {"c": [{"d": {"e": at("deep")}}]}}, "o": at("step output")})
            run.set_output(at("run output"))
            if place == "error":
                raise Boom(f"refused {SECRET}")
            if place == "error source":
                exec(compile(f"def f():\n    raise Boom()  # {SECRET}\nf()", "source.py", "exec"), {"Boom": Boom})
            if place == "error details":
                raise Boom({"token": SECRET, "n": [SECRET]})
    except Boom:
        pass
    text = everything(captured)
    assert DRAWN not in text
    assert DRAWN[:16] not in text
    if place in ("run id", "pipeline", "bare tag", "tag key", "step name", "run input", "error"):
        assert REDACTED in text


def test_two_runs_whose_ids_are_secrets_stay_two() -> None:
    captured = Captured()
    ids = {captured.run(run_id=made_up_secrets.secret(0, seed)).run_id for seed in range(20)}
    assert len(ids) == 20
    assert captured.run(run_id=SECRET).run_id == captured.run(run_id=SECRET).run_id
    known = captured.run(run_id=SECRET).run_id
    assert captured.run(run_id=known).run_id == known  # as a child process is told it


def test_row_40_an_item_whose_id_is_a_secret_is_found_by_it_and_by_its_masked_name() -> None:
    with capture() as result:
        with result.xray.run() as run, run.step("filter") as step:
            step.set_input_items(["a", SECRET, "b"])
            step.accept("a")
            step.reject(SECRET, "leaked", {"where": "log"})
            step.accept("b")
        for name in (SECRET, masked_item_id(SECRET)):
            why = result.why(name)
            assert (why.outcome, why.reason) == ("rejected", "leaked")
            assert why.certainty == "fingerprint"
        assert result.why("a").outcome == "accepted"
        assert result.why(made_up_secrets.secret(0, 1)).outcome == "never_entered"


def test_a_masked_item_is_looked_up_by_the_fingerprint_in_its_name() -> None:
    assert verdicts.fingerprint(masked_item_id("x")) == verdicts.fingerprint("x")
    assert verdicts.fingerprint("[redacted]#12") == verdicts.fingerprint("[redacted]#12")


def test_the_items_that_are_no_secrets_keep_their_names_beside_one_that_is() -> None:
    captured = Captured()
    with captured.run() as run, run.step("filter") as step:
        for item in ("a", SECRET, "b"):
            step.reject(item, "r", {"n": 1})
    ids, prints = captured.verdicts("rejected")
    assert ids == ["a", "b"]
    assert prints == [verdicts.fingerprint(SECRET)]
    assert captured.step("filter")["counts"] == {"rejected": 3}
    assert {sample["item_id"] for sample in captured.samples()} == {"a", "b", masked_item_id(SECRET)}


def test_row_40_a_plugin_sees_the_record_masked() -> None:
    seen: list[dict[str, Any]] = []

    class Hooks:
        redacts, observes_steps = True, False

        def redact(self, record: dict[str, Any]) -> dict[str, Any]:
            seen.append(record)
            return record

        def run_started(self, run: Any) -> None: ...
        def run_finished(self, run: Any) -> None: ...
        def step_finished(self, step: Any) -> None: ...

    captured = Captured(hooks=Hooks())
    with captured.run() as run, run.step("s") as step:
        step.set_input(f"password={SECRET}")
        step.set_output({"note": SECRET})
    assert seen
    assert DRAWN not in json.dumps(seen)


def test_redact_takes_patterns_for_texts_and_for_keys() -> None:
    captured = Captured(redact=(r"text:EMP-\d+", "^salary$"))
    with captured.run() as run, run.step("s") as step:
        step.set_input({"who": "EMP-4711", "salary": 1000, "age": 40})
        step.reject("EMP-4711", "r", {"text": "of EMP-4712"})
    text = everything(captured)
    assert "EMP-" not in text
    assert captured.step("s")["input"] == {"who": REDACTED, "salary": REDACTED, "age": 40}


def test_a_secret_is_found_among_ids_that_are_shorter_than_any_token() -> None:
    captured = Captured()
    with captured.run() as run, run.step("filter") as step:
        step.reject("a", "r")
        step.reject("pwd=hunter2", "s")
        step.accept("b")
    assert "hunter2" not in everything(captured)
    assert captured.verdicts("rejected")[0] == ["a"]
    assert captured.verdicts("rejected")[1] == [verdicts.fingerprint("pwd=hunter2")]
    assert captured.verdicts("accepted")[0] == ["b"]


def test_a_value_that_is_learned_later_is_masked_in_names_that_were_remembered() -> None:
    captured = Captured()
    with captured.run() as run:
        for _ in range(2):
            with run.step("load for corn-flower", "corn-flower") as step:
                step.reject("a", "not corn-flower")
        captured.sink.records.clear()
        captured.sink.payloads.clear()
        redaction.learn("corn-flower")
        try:
            with run.step("load for corn-flower", "corn-flower") as step:
                step.reject("a", "not corn-flower")
            assert "corn-flower" not in everything(captured)
        finally:
            redaction.forget()


def test_what_a_framework_calls_a_step_is_looked_through_until_it_is_known_to_hold_no_secret() -> None:
    captured = Captured()
    sound = Origin("dagster", "op", {"step_key": "load"}, "http://127.0.0.1:3000/runs/3f2b8c1e?logs=step%3Aload")
    secret = Origin("dagster", "op", {"step_key": f"load {SECRET}"})
    run = captured.run()
    for name, origin in (("sound", sound), ("secret", secret), ("replaced", sound), ("learned", sound)):
        step = run.open_step(name, origin=origin)
        if name == "replaced":
            step.set_origin(secret)
        if name == "learned":
            redaction.learn("127.0.0.1:3000")
        step.set_origin_state("SUCCESS")
        step.close()
    redaction.forget()
    records = captured.of_kind("step")
    assert DRAWN not in str(records)
    learned = [each["origin"]["url"] for each in records if each["name"] == "learned"]
    assert learned == [sound.url, "http://[redacted]/runs/3f2b8c1e?logs=step%3Aload"]
    assert [each["origin"]["url"] for each in records if each["name"] == "sound"] == [sound.url] * 2


def test_names_and_origins_are_masked_from_the_moment_on_at_which_a_framework_calls_them_secret() -> None:
    captured = Captured()
    maskers: list[redaction.Masker] = []
    redaction.add_masker(lambda: maskers[0] if maskers else None)
    try:
        run = captured.run()
        origin = Origin("airflow", "task_instance", {"task_id": "hunter2"}, "http://127.0.0.1:8080/dags/hunter2")
        with run.step("hunter2") as step:
            step.set_origin(origin)
            step.snapshot()
        step = run.open_step("hunter2", origin=origin)
        maskers.append(lambda text: text.replace("hunter2", "***"))
        step.close()
        run.open_step("hunter2", origin=origin).close()
    finally:
        redaction.forget()
    before, after = captured.of_kind("step")[:4], captured.of_kind("step")[4:]
    assert all("hunter2" in str(each["origin"]) for each in before[1:])
    assert not any("hunter2" in str(each["origin"]) for each in after)
    assert [each["name"] for each in after] == ["hunter2", "***", "***"]
