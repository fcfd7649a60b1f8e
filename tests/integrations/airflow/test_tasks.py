"""Task instances through Airflow's own task runner: each a step, none changed by being watched.

Tests task.py, lifecycle.py, fields.py, secrets.py, origin.py and macros.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from xray_airflow.fields import run_id_of, step_id_of

from tests.integrations.airflow.conftest import Captured, Outcome

Runs = Callable[..., Outcome]
Reads = Callable[[], Captured]


def test_a_taskflow_task_is_a_step_with_its_decisions(runs_task: Runs, captured: Reads) -> None:
    outcome = runs_task("keep_even", conf={"limit": 3, "api_key": "hush"})
    assert outcome.states == ["success"]
    seen = captured()
    step = seen.step("keep_even")
    assert (step["status"], step["step_type"], step["output"]["size"]) == ("completed", "transform", 2)
    assert step["reasons"]["rejected"] == {"odd": 3}
    assert seen.rejected("keep_even") == ["1", "3", "5"]
    assert step["metadata"] == {"operator": "@task"}
    run = seen.run()
    assert run["input"] == {"limit": 3, "api_key": "[redacted]"}
    assert run["metadata"] == {"who": "keep_even"}
    assert run["status"] == "running"


def test_a_classic_operator_is_a_step_by_its_arguments_and_its_result(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("classic").states == ["success"]
    step = captured().step("classic")
    assert (step["input"]["rows"]["size"], step["output"]["size"]) == (2, 1)
    assert step["metadata"] == {"operator": "PythonOperator"}
    assert step["code_version"].startswith("code:")
    assert step["origin"]["url"] == "http://airflow.example:8080/dags/cases/runs/r1/tasks/classic?try_number=1"
    assert step["origin"]["state"] == "success"
    assert captured().run()["origin"]["url"] == "http://airflow.example:8080/dags/cases/runs/r1"


def test_bash_has_its_template_rendered_its_group_and_upstream_and_its_children_attach(
    runs_task: Runs, captured: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_CAPTURE", "full")
    outcome = runs_task("group.bash", conf={"python": sys.executable})
    assert outcome.states == ["success"]
    seen = captured()
    step = seen.step("group.bash")
    assert step["step_type"] == "command"
    assert "echo 2024-01-01" in step["input"]["bash_command"]
    assert step["metadata"]["task_group"] == "group"
    assert step["metadata"]["outlets"] == ["s3://bucket/out"]
    assert step["upstream"] == [step_id_of("cases", "r1", "classic", -1)]
    assert seen.rejected("group.bash") == ["b"]
    assert step["reasons"]["rejected"] == {"from_bash": 1}


def test_a_parameter_names_the_field_that_names_the_items(runs_task: Runs, captured: Reads) -> None:
    for task_id, key in (("tagged", "sku"), ("untagged", "id")):
        assert runs_task(task_id).states == ["success"]
        assert captured().step(task_id)["items"]["out"]["key"] == key


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("other/*=sku", "id"), ("cases/*=sku", "sku"), ("id; cases/untagged=sku", "sku"), ("*/untagged=id,sku", ["id", "sku"]),
    ],
)  # fmt: skip
def test_xray_item_key_names_the_field_for_all_a_dag_or_a_task(
    setting: str, key: str | list[str], runs_task: Runs, captured: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_ITEM_KEY", setting)
    assert runs_task("untagged").states == ["success"]
    assert captured().step("untagged")["items"]["out"]["key"] == key


def test_each_mapped_instance_is_a_step_of_its_own(runs_task: Runs, captured: Reads) -> None:
    for map_index in (0, 2):
        assert runs_task("double", map_index=map_index).states == ["success"]
    first, last = (captured().step("double", map_index=n) for n in (0, 2))
    assert first["step_id"] != last["step_id"]
    assert (first["map_index"], last["map_index"]) == (0, 2)
    assert last["origin"]["url"].endswith("/tasks/double/mapped/2?try_number=1")


def test_a_failure_is_the_users_own_with_its_traceback(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("fails").states == ["failed"]
    step = captured().step("fails")
    assert (step["status"], step["error"]["type"], step["error"]["message"]) == (
        "failed",
        "ValueError",
        "the price is missing",
    )
    assert 'raise ValueError("the price is missing")' in step["error"]["traceback"]


def test_every_try_of_a_task_is_an_attempt_of_one_step(runs_task: Runs, captured: Reads) -> None:
    outcome = runs_task("fails", try_number=1, context={"should_retry": True})
    assert outcome.states == ["up_for_retry"]
    assert runs_task("fails", try_number=2).states == ["failed"]
    seen = captured()
    first, second = seen.step("fails", attempt=1), seen.step("fails", attempt=2)
    assert first["step_id"] == second["step_id"]
    assert first["origin"]["state"] == "up_for_retry"
    assert (first["status"], second["status"]) == ("failed", "failed")


def test_a_task_that_skips_itself_says_why(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("skips_itself").states == ["skipped"]
    step = captured().step("skips_itself")
    assert (step["status"], step["error"]["message"]) == ("skipped", "nothing to do today")


def test_a_task_that_skips_itself_without_a_word_says_that(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("skips_silently").states == ["skipped"]
    assert (
        captured().step("skips_silently")["error"]["message"] == "skipped itself: AirflowSkipException without a text"
    )


def test_an_error_with_half_a_character_is_kept_though_airflows_process_dies_of_it(
    runs_task: Runs, captured: Reads
) -> None:
    runs_task("fails_oddly")
    step = captured().step("fails_oddly")
    assert step["status"] == "failed"
    error = step["error"]
    assert (error["type"], error["message"][:18]) == ("ValueError", "half a character: ")


def test_a_triggered_run_is_a_child_that_is_queued_until_its_own_scheduler_says_more(
    runs_task: Runs, captured: Reads
) -> None:
    assert runs_task("triggers").states == ["success"]
    child = captured().run("another")
    assert (child["status"], child["origin"]["state"]) == ("running", "queued")
    assert child["parent"]["step_id"] == step_id_of("cases", "r1", "triggers", -1)


def test_a_run_that_could_not_be_triggered_is_none(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("triggers", refused="/dag-runs/").states == ["failed"]
    seen = captured()
    assert seen.step("triggers")["status"] == "failed"
    assert not [record for record in seen.records if record.get("pipeline") == "another"]


def test_a_triggered_run_that_is_waited_for_in_the_triggerer_is_a_child_too(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("triggers_and_waits").states == ["deferred"]
    seen = captured()
    assert seen.step("triggers_and_waits")["origin"]["state"] == "deferred"
    assert seen.run("another")["parent"]["step_id"] == step_id_of("cases", "r1", "triggers_and_waits", -1)


def test_a_branch_names_whom_it_skips_and_they_appear_as_skipped_by_it(runs_task: Runs, captured: Reads) -> None:
    outcome = runs_task("chooses")
    assert outcome.states == ["success"]
    assert outcome.body_of("/skip-downstream") == {"tasks": [["not_taken", -1]]}
    seen = captured()
    step = seen.step("chooses")
    assert (step["status"], step["step_type"], step["metadata"]["result.skips"]) == (
        "completed",
        "branch",
        ["not_taken"],
    )
    skipped = seen.step("not_taken")
    assert (skipped["status"], skipped["error"]["message"]) == ("skipped", "chooses chose not to run it")
    assert skipped["upstream"] == [step["step_id"]]
    assert skipped["step_type"] == "empty"
    assert "taken" not in seen.names()


def test_a_short_circuit_is_a_filter_that_skips_what_is_behind_it(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("stops").states == ["success"]
    seen = captured()
    assert seen.step("stops")["step_type"] == "filter"
    assert seen.step("after_stop")["metadata"] == {"result.skipped_by": "stops"}


def test_a_deferred_task_is_one_step_in_segments(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("defers").states == ["deferred"]
    waiting = captured().step("defers")
    assert (waiting["status"], waiting["origin"]["state"], waiting["ended_us"]) == ("running", "deferred", None)
    runs_task("defers", context={"next_method": "resumed", "next_kwargs": {}})
    seen = captured()
    step = seen.step("defers")
    assert (step["status"], len(step["parts"]), step["output"]["size"]) == ("completed", 2, 3)
    assert step["metadata"]["result.resumed_with"] == "resumed"
    assert step["reasons"]["rejected"] == {"first": 3, "second": 1}
    for item, reason in (("a1", "first"), ("a2", "first"), ("a3", "first"), ("b1", "second")):
        assert seen.exact_reason(item) == reason


def test_a_rescheduled_sensor_is_one_step_however_often_it_pokes(runs_task: Runs, captured: Reads) -> None:
    for count in range(3):
        outcome = runs_task("pokes", context={"task_reschedule_count": count})
        assert outcome.states == ["up_for_reschedule" if count < 2 else "success"]
    step = captured().step("pokes")
    assert (step["status"], step["step_type"]) == ("completed", "sensor")
    assert len(step["parts"]) == 2  # the first poke and the last; those between had nothing to say


def test_what_a_rescheduled_sensor_rejects_at_each_of_its_pokes_is_told_exactly(
    runs_task: Runs, captured: Reads
) -> None:
    for count in range(3):
        assert runs_task("pokes_choosily", context={"task_reschedule_count": count}).states
    seen = captured()
    step = seen.step("pokes_choosily")
    assert (step["status"], step["reasons"]["rejected"]) == ("completed", {"poke 0": 1, "poke 1": 2, "poke 2": 3})
    for item, reason in (("p0-0", "poke 0"), ("p1-1", "poke 1"), ("p2-0", "poke 2"), ("p2-2", "poke 2")):
        assert seen.exact_reason(item) == reason


def test_the_operator_is_itself_again_while_it_executes(runs_task: Runs) -> None:
    assert runs_task("copies").states == ["success"]


def test_a_thread_of_the_task_finds_its_step(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("in_thread").states == ["success"]
    assert captured().rejected("in_thread") == ["t"]


def test_coroutines_of_an_async_task_find_its_step(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("waits").states == ["success"]
    step = captured().step("waits")
    assert step["reasons"]["rejected"] == {"before": 1, "in_a_coroutine": 2}
    assert (step["status"], step["output"]["size"]) == ("completed", 3)


def test_a_task_that_runs_out_of_time_keeps_what_it_decided_and_says_why_it_failed(
    runs_task: Runs, captured: Reads
) -> None:
    assert runs_task("runs_out_of_time").states == ["failed"]
    step = captured().step("runs_out_of_time")
    assert (step["status"], step["error"]["type"]) == ("failed", "airflow.sdk.exceptions.AirflowTaskTimeout")
    assert step["reasons"]["rejected"] == {"before_the_end": 1}


def test_items_are_found_in_several_outputs_of_one_task(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("splits").states == ["success"]
    step = captured().step("splits")
    assert (step["items"]["in"]["n"], step["items"]["out"]["n"], step["items"]["out"]["key"]) == (5, 4, "id")


def test_a_record_whose_fields_are_pushed_as_outputs_is_one_item(runs_task: Runs, captured: Reads) -> None:
    """As Airflow does of its own accord where a task is annotated `-> dict`."""
    assert runs_task("one_record").states == ["success"]
    assert captured().step("one_record")["items"]["out"]["n"] == 1


def test_a_function_in_another_python_finds_its_step(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("external_python").states == ["success"]
    seen = captured()
    step = seen.step("external_python")
    assert (step["status"], step["reasons"]["rejected"], step["output"]["size"]) == ("completed", {"elsewhere": 1}, 2)


@pytest.mark.parametrize("try_number", [1, 2])
def test_what_inherits_nothing_is_handed_its_step_by_a_template(
    try_number: int, runs_task: Runs, captured: Reads
) -> None:
    assert runs_task("like_a_pod", try_number=try_number).states == ["success"]
    step = captured().step("like_a_pod", attempt=try_number)
    assert (step["status"], step["reasons"]["rejected"]) == ("completed", {"in_pod": 1})


def test_templates_that_name_the_step_render_to_nothing_where_nothing_is_captured(
    runs_task: Runs, captured: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_DAG_DENY", "cases")
    assert runs_task("like_a_pod").states == ["success"]
    assert captured().records == []


def test_a_run_that_starts_by_hand_in_a_task_is_its_child(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("by_hand").states == ["success"]
    seen = captured()
    child = seen.run("by_hand")
    assert child["parent"] == {"run_id": run_id_of("cases", "r1"), "step_id": seen.step("by_hand")["step_id"]}
    assert child["origin"]["ids"]["task_id"] == "by_hand"


def test_a_killed_task_keeps_what_it_decided_and_stays_open(runs_task: Runs, captured: Reads) -> None:
    """Marked failed from outside: the API answers 409 to a heartbeat, and the supervisor ends the process."""
    outcome = runs_task("sleeps", killed=True)
    assert outcome.seconds < 60
    seen = captured()
    assert seen.rejected("sleeps") == ["s"]
    assert seen.step("sleeps")["status"] == "running"


@pytest.mark.parametrize("level", ["minimal", "sample", "full"])
def test_row_41_what_airflow_masks_is_masked(
    level: str, runs_task: Runs, captured: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_CAPTURE", level)
    assert runs_task("secretive").states == ["failed"]
    seen = captured()
    assert "Winter" not in json.dumps(seen.records)
    step = seen.step("secretive")
    assert step["error"]["message"] == "login refused: [redacted]"
    assert step["metadata"]["note"] == "[redacted]"
    if level == "full":
        assert step["input"] == {"word": "[redacted]"}
        details = [
            sample["details"] for each in seen.records if each["kind"] == "samples" for sample in each["samples"]
        ]
        assert details == [{"tried": "with [redacted]", "proxy": "[redacted]"}]


@pytest.mark.parametrize("level", ["minimal", "sample", "full"])
def test_the_password_of_a_connection_is_masked_wherever_the_task_says_it(
    level: str, runs_task: Runs, captured: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", "postgres://u:Tr0ub4dor-Kestrel@h/db")
    monkeypatch.setenv("XRAY_CAPTURE", level)
    assert runs_task("logs_in").states == ["failed"]
    seen = captured()
    assert "Kestrel" not in json.dumps(seen.records)
    step = seen.step("logs_in")
    assert step["error"]["message"] == "login failed: user with [redacted]"
    assert step["reasons"]["rejected"] == {"refused": 1}
