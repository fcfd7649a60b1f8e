"""Ops that fail, are tried again or are skipped: each attempt is a step, and says what caused it.

Tests ops.py and fields.py.
"""

from collections.abc import Iterator

import pytest
from dagster import (
    Failure,
    Out,
    Output,
    RetryPolicy,
    RetryRequested,
    job,
    op,
)

from tests.integrations.dagster.capturing import Captured
from xray_core import current_step


def test_each_attempt_of_a_retry_policy_is_a_step(xray: Captured) -> None:
    tries: list[int] = []

    @op(retry_policy=RetryPolicy(max_retries=3))
    def flaky() -> str:
        tries.append(1)
        current_step().reject(f"try-{len(tries)}", "seen")
        if len(tries) < 3:
            raise ConnectionError(f"no answer to try {len(tries)}")
        return "fine"

    @job
    def retrying() -> None:
        flaky()

    assert retrying.execute_in_process(raise_on_error=False).success
    for attempt in (1, 2):
        step = xray.step("flaky", attempt)
        assert (step["status"], step["origin"]["state"]) == ("failed", "STEP_UP_FOR_RETRY")
        assert (step["error"]["type"], step["error"]["message"]) == ("ConnectionError", f"no answer to try {attempt}")
        assert step["counts"] == {"rejected": 1}
    assert xray.step("flaky", 3)["status"] == "completed"
    assert xray.step("flaky", 3)["metadata"]["max_retries"] == 3
    assert len(xray.steps) == 3
    assert xray.run["status"] == "completed"


def test_a_requested_retry_is_an_attempt_and_says_what_caused_it(xray: Captured) -> None:
    @op
    def giving_up() -> None:
        try:
            raise KeyError("no such row")
        except KeyError as error:
            raise RetryRequested(max_retries=1, seconds_to_wait=0) from error

    @job
    def retrying() -> None:
        giving_up()

    assert not retrying.execute_in_process(raise_on_error=False).success
    first, last = xray.step("giving_up", 1), xray.step("giving_up", 2)
    assert (first["origin"]["state"], last["origin"]["state"]) == ("STEP_UP_FOR_RETRY", "STEP_FAILURE")
    assert (first["error"]["type"], last["error"]["type"]) == ("KeyError", "KeyError")
    assert xray.run["status"] == "failed"


def test_a_failure_shows_the_users_own_error_and_what_never_ran(xray: Captured) -> None:
    @op
    def breaks() -> list[int]:
        current_step().reject("before", "the_end")
        raise ValueError("price is missing")

    @op
    def after(values: list[int]) -> list[int]:
        return values

    @op
    def long_after(values: list[int]) -> None: ...

    @op
    def apart() -> None: ...

    @job
    def failing() -> None:
        long_after(after(breaks()))
        apart()

    assert not failing.execute_in_process(raise_on_error=False).success
    step = xray.step("breaks")
    assert (step["status"], step["error"]["type"], step["error"]["message"]) == (
        "failed",
        "ValueError",
        "price is missing",
    )
    assert "in breaks" in step["error"]["traceback"]
    assert step["counts"] == {"rejected": 1}
    assert (xray.step("after")["status"], xray.step("long_after")["status"]) == ("skipped", "skipped")
    assert xray.step("after")["metadata"] == {"result.not_run": "upstream failed: breaks"}
    assert xray.step("long_after")["metadata"] == {"result.not_run": "upstream failed: after"}
    assert xray.step("after")["upstream"] == [step["step_id"]]
    assert xray.step("apart")["status"] == "completed"
    assert (xray.run["status"], xray.run["error"]["type"]) == ("failed", "ValueError")


def test_the_users_exception_passes_through_untouched(xray: Captured) -> None:
    error = ValueError("mine")

    @op
    def breaks() -> None:
        raise error

    @job
    def failing() -> None:
        breaks()

    with pytest.raises(ValueError) as raised:
        failing.execute_in_process()
    assert raised.value is error
    assert xray.step("breaks")["error"]["message"] == "mine"
    assert xray.run["status"] == "failed"


def test_a_failure_of_dagsters_own_kind_keeps_its_words_and_metadata(xray: Captured) -> None:
    @op
    def breaks() -> None:
        raise Failure("too few rows", metadata={"rows": 3})

    @job
    def failing() -> None:
        breaks()

    assert not failing.execute_in_process(raise_on_error=False).success
    step = xray.step("breaks")
    assert (step["error"]["type"], step["error"]["message"].splitlines()[0]) == ("Failure", "too few rows")
    assert step["metadata"]["result.failure"] == {"rows": 3}


def test_a_skipped_op_is_shown_with_why(xray: Captured) -> None:
    @op(out={"some": Out(list, is_required=False), "others": Out(list, is_required=False)})
    def choose() -> Iterator[Output[list[int]]]:
        yield Output([1], "some")

    @op
    def taken(values: list[int]) -> None: ...

    @op
    def not_taken(values: list[int]) -> list[int]:
        return values

    @op
    def neither(values: list[int]) -> None: ...

    @job
    def branching() -> None:
        outputs = choose()
        taken(outputs.some)
        neither(not_taken(outputs.others))

    assert branching.execute_in_process().success
    assert xray.step("taken")["status"] == "completed"
    assert (xray.step("not_taken")["status"], xray.step("neither")["status"]) == ("skipped", "skipped")
    assert xray.step("not_taken")["origin"]["state"] == "STEP_SKIPPED"
    assert xray.step("not_taken")["metadata"] == {"result.not_run": "no output to work on came from choose"}
    assert len(xray.steps) == 4
