"""Of several attempts of one task one counts, with its verdicts and samples, in every answer and whatever came first.

Tests backends/relational/merged.py and tasks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import msgspec
import pytest
from xray_server.records.schema import (
    Record,
    RunRecord,
    Sample,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    decode_record,
    sample_text,
)
from xray_server.store import MAX_PAGE, Batch, RunFilter, StepFilter, Store

from xray_core.tasks import TaskAttempt

T0 = 1_760_000_000_000_000
S = 1_000_000
PROJECT = "default"


def attempt_records(
    number: int, items: list[str], *, task: Any, began_s: int, spoke_s: int, said: bool = True
) -> list[Record]:
    """What one attempt sends: verdicts and samples first, then its own record, or none where it was killed before."""
    part = TaskAttempt("partition 3", 0, number).part("a")
    records: list[Record] = [
        VerdictsRecord(1, "r", "judge", [VerdictSet("rejected", len(items), "late", items)], 1, part, "1"),
        SamplesRecord(
            1, "r", "judge", sample_text([Sample(item, "rejected", "late", at_us=T0) for item in items]), 1, part, "live", 1
        ),
    ]  # fmt: skip
    if said:
        counts: Any = {"rejected": len(items)}
        records.append(
            StepRecord(
                v=1, run_id="r", step_id="judge", attempt=1, part=part, rev=T0 + spoke_s * S, started_us=T0 + began_s * S,
                counts=counts, reasons={"rejected": {"late": len(items)}}, task=task,
            )
        )  # fmt: skip
    return records


OWNER: list[Record] = [
    RunRecord(v=1, run_id="r", part="driver", rev=1, pipeline="p", started_us=T0, status="completed"),
    StepRecord(
        v=1,
        run_id="r",
        step_id="judge",
        attempt=1,
        part="driver",
        rev=1,
        pipeline="p",
        name="judge",
        started_us=T0,
        status="completed",
        input_count=3,
    ),
]
KILLED = attempt_records(1, ["a", "b", "ghost"], task="running", began_s=1, spoke_s=2)
CUT_OFF = attempt_records(2, ["cut off"], task=None, began_s=3, spoke_s=3, said=False)
RETRIED = attempt_records(3, ["a", "b", "c"], task="completed", began_s=5, spoke_s=9)
SPECULATIVE = attempt_records(4, ["a", "b", "d"], task="completed", began_s=6, spoke_s=10)


def answers(store: Store) -> dict[str, Any]:
    """Every answer in which a verdict or a sample shows."""
    (step,) = store.step(PROJECT, "r", "judge")
    (listed,) = store.steps(PROJECT, StepFilter(reason="late"), limit=MAX_PAGE).items
    (group,) = store.step_groups(PROJECT, ["r"])["r"]
    (figures,) = store.run_figures(PROJECT, RunFilter(), limit=MAX_PAGE).items
    (sampled,) = store.sampled_steps(PROJECT, StepFilter(), limit=MAX_PAGE).items
    (point,) = store.trend(PROJECT, pipeline="p", name="judge", since_us=0, until_us=T0 + 10**12)
    samples = store.samples(PROJECT, "r", [("judge", 1)])
    return {
        "status": step.state["status"],
        "ledger": (step.ledger.input, step.ledger.rejected, step.ledger.unaccounted, step.ledger.flags),
        "listed": listed.ledger.rejected,
        "group": group.rejected,
        "figures": [each.rejected for each in figures.steps],
        "trend": point.rejected,
        "sets": sorted(item for each in store.sets(PROJECT, "r") for item in each.ids or ()),
        "of step": sorted(item for each in store.sets(PROJECT, "r", "judge") for item in each.ids or ()),
        "samples": sorted(each["item_id"] for each in samples["judge", 1]),
        "sampled": sorted(each["item_id"] for each in sampled.samples),
        "found": {
            item: (
                [(each.n, each.found) for each in store.look_up(PROJECT, "r", item)],
                [
                    (run.run_id, len(run.sightings))
                    for run in store.item_runs(PROJECT, item, pipeline=None, limit=9).items
                ],
            )
            for item in ("a", "c", "d", "ghost", "cut off")
        },
    }


IS: dict[str, Any] = {
    "status": "completed",
    "ledger": (3, 3, 0, ()),
    "listed": 3,
    "group": 3,
    "figures": [3],
    "trend": 3,
    "sets": ["a", "b", "c"],
    "of step": ["a", "b", "c"],
    "samples": ["a", "b", "c"],
    "sampled": ["a", "b", "c"],
    "found": {
        "a": ([(3, "exact")], [("r", 1)]),
        "c": ([(3, "exact")], [("r", 1)]),
        "d": ([(3, None)], []),
        "ghost": ([(3, None)], []),
        "cut off": ([(3, None)], []),
    },
}


def write(store: Store, *batches: list[Record]) -> None:
    for batch in batches:
        assert store.write([Batch(batch, PROJECT, T0 + 99 * S)]) == [{}]


@pytest.mark.parametrize("at_once", [True, False])
def test_of_a_killed_attempt_its_retry_and_a_speculative_one_one_counts_in_every_answer(
    new_store: Callable[[], Store], at_once: bool
) -> None:
    orders = list(permutations([OWNER, KILLED, CUT_OFF, RETRIED, SPECULATIVE]))
    for order in orders[17::53] if at_once else orders[30::67]:
        store = new_store()
        if at_once:
            write(store, [record for records in order for record in records])
        else:
            write(store, *order, order[0])  # and one once more
        assert answers(store) == IS, [records[0] for records in order]


def test_every_record_by_itself_comes_to_the_same_whatever_the_order(store: Store) -> None:
    records = [*OWNER, *CUT_OFF, *SPECULATIVE, *RETRIED, *KILLED]
    write(store, *([record] for record in sorted(records, key=lambda record: repr(record)[::-1])))
    assert answers(store) == IS


def test_until_the_retry_has_ended_what_the_killed_attempt_said_counts(store: Store) -> None:
    write(store, OWNER, KILLED, attempt_records(2, ["a"], task="running", began_s=5, spoke_s=6))
    assert answers(store)["sets"] == ["a", "b", "ghost"]
    write(store, RETRIED)
    assert answers(store) == IS


def test_what_is_exported_of_a_store_counts_the_same_in_the_next(new_store: Callable[[], Store]) -> None:
    store, other = new_store(), new_store()
    write(store, OWNER, SPECULATIVE, KILLED, RETRIED, CUT_OFF)
    (run,) = store.dump(cursor=None, limit=9).items
    write(other, [decode_record(msgspec.json.encode(record)) for record in run.records])
    assert answers(other) == IS


def test_tasks_that_arrive_one_by_one_and_again_come_to_what_they_come_to_at_once(
    new_store: Callable[[], Store],
) -> None:
    def of_task(number: int, attempt: int) -> list[Record]:
        part = TaskAttempt(f"partition {number}", 0, attempt).part("a")
        counts: Any = {"rejected": 10 * attempt + number, "accepted": 5}
        reasons: Any = {"rejected": {f"reason {number % 3}": 10 * attempt + number}, "accepted": {"": 5}}
        times = {"rev": T0 + attempt * 10 * S, "started_us": T0 + attempt * 10 * S - S}
        return [StepRecord(v=1, run_id="r", step_id="judge", attempt=1, part=part, counts=counts, reasons=reasons, task="completed", **times)]  # fmt: skip

    one_by_one, at_once = new_store(), new_store()
    tasks = [of_task(number, 1) for number in range(18)] + [of_task(number, 2) for number in (3, 17)]
    write(one_by_one, OWNER, *tasks, tasks[0])
    write(at_once, [record for records in [*tasks, OWNER] for record in records])
    found, wanted = (store.step(PROJECT, "r", "judge")[0] for store in (one_by_one, at_once))
    assert found.state == wanted.state
    assert found.ledger.rejected == 10 * 18 + sum(range(18)) + 20
    reasons = [
        store.trend(PROJECT, pipeline="p", name="judge", since_us=0, until_us=T0 + 10**12)[0].reasons
        for store in (one_by_one, at_once)
    ]
    assert reasons[0] == reasons[1] == found.state["reasons"]["rejected"]
