"""What is another in every run is told by its name, or by a time near the run's."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from xray_core.objects.generated import all_near, is_generated_name, is_of_one_call, moment_us, without_temporary

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
NOW_US = int(NOW.timestamp() * 1e6)


@pytest.mark.parametrize("name", ["request_id", "output.trace_id", "latency_ms", "host", "took", "x.run_id", "uuid"])
def test_ids_of_calls_durations_and_hosts_are_generated(name: str) -> None:
    assert is_generated_name(name)
    assert is_of_one_call(name.rpartition(".")[2])


@pytest.mark.parametrize("name", ["order_id", "price", "text", "ghost", "valid", "customer_uuids", "translate"])
def test_other_names_tell_nothing(name: str) -> None:
    assert not is_generated_name(name)
    assert not is_of_one_call(name)


@pytest.mark.parametrize("name", ["worker", "machine", "node", "job_id", "task_id", "message_id"])
def test_what_a_step_may_have_decided_is_of_no_call(name: str) -> None:
    assert not is_of_one_call(name)


@pytest.mark.parametrize("value", [NOW.isoformat(), "2026-03-01T12:00:00Z", NOW_US, NOW_US // 1_000, NOW_US / 1e6])
def test_a_moment_is_told_in_texts_and_numbers(value: Any) -> None:
    assert moment_us(value) == NOW_US


def test_times_are_of_now_where_all_are() -> None:
    near = [(NOW - timedelta(minutes=n)).isoformat() for n in range(30)]
    assert all_near(near, NOW_US)
    assert not all_near([*near, (NOW - timedelta(days=1)).isoformat()], NOW_US)
    assert not all_near([], NOW_US)


def test_names_of_temporary_files_are_equal() -> None:
    assert without_temporary("/tmp/tmpab12cd34/rows.csv") == without_temporary("/tmp/tmp9x8y7z6w/rows.csv")
    assert without_temporary("template.txt") == "template.txt"
