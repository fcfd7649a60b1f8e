"""Every filter and every list, against a plain oracle; pages hold while writes go on.

Tests backends/relational/cursors.py, database.py, figures.py, items.py, lists.py, samples.py, store.py, stored.py,
store/answers.py, protocol.py and questions.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from xray_server.read.baseline import MARK_TAG, mark_of, mark_record
from xray_server.records.schema import (
    ClientRecord,
    Record,
    RunRecord,
    Sample,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    sample_text,
)
from xray_server.store import BadCursorError, Batch, RunFilter, StepFilter, Store, StoredRun, StoredStep

from xray_core import verdicts

T0 = 1_760_000_000_000_000
HOUR_US = 3_600_000_000
PROJECT = "default"


def run_records(i: int, rng: random.Random) -> list[Record]:
    run_id = f"run-{i:03d}"
    at = T0 + (i // 2) * 600_000_000  # two runs start in the same microsecond
    status: Any = rng.choice(["running", "completed", "failed"])
    records: list[Record] = [
        RunRecord(
            v=1, run_id=run_id, part="a", rev=1, pipeline=rng.choice(["flights", "Flights ü", "other"]), status=status,
            started_us=at, tags={"env": rng.choice(["prod", "test"]), "n": i},
        )
    ]  # fmt: skip
    for k in range(rng.randint(1, 4)):
        rejected = rng.choice([0, 0, 95, 50])
        reasons = {"rejected": {rng.choice(["price", "late"]): rejected}} if rejected else None
        if rejected == 50:
            reasons = {"rejected": {"price": 50}, "errored": {"price": 1}}
        records.append(
            StepRecord(
                v=1, run_id=run_id, step_id=f"s{k}", attempt=1, part="a", rev=1, pipeline=records[0].pipeline,  # type: ignore[union-attr]
                name=rng.choice(["filter_price", "rank"]), step_type=rng.choice(["filter", "rank", None]),
                status=rng.choice(["completed", "failed"]), started_us=at + k, index=k,
                duration_us=rng.choice([None, 5_000, 20_000_000]), ended_us=at + 30_000_000,
                counts={"rejected": rejected, "errored": 1} if rejected == 50 else {"rejected": rejected},
                reasons=reasons, input_count=100, output_count=100 - rejected,
            )
        )  # fmt: skip
    return records


@pytest.fixture
def filled(store: Store) -> Store:
    rng = random.Random(7)
    batches = [Batch(run_records(i, rng), PROJECT, T0) for i in range(60)]
    batches.append(Batch([RunRecord(v=1, run_id="run-000", pipeline="flights")], "another project", T0))
    assert store.write(batches) == [{} for _ in batches]
    return store


def walk(ask: Callable[[str | None], Any]) -> list[Any]:
    """All items of a list, page by page."""
    items, cursor = [], None
    while True:
        page = ask(cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


@pytest.mark.parametrize("few", [2_000, 1])
def test_runs_are_filtered_as_asked_and_newest_first(filled: Store, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # how many hits of a text are looked up, and how many are scanned for
    monkeypatch.setattr("xray_server.backends.relational.lists.FEW_RUNS", few)
    everything = walk(lambda cursor: filled.runs(PROJECT, RunFilter(), limit=7, cursor=cursor))
    assert len(everything) == 60
    assert all(a.at_us >= b.at_us for a, b in pairwise(everything))
    middle = T0 + 10 * 600_000_000

    def holds(run: StoredRun, where: RunFilter) -> bool:
        state, (key, _, value) = run.state, (where.tag or "").partition(":")
        return (
            (where.pipeline is None or state["pipeline"] == where.pipeline)
            and (where.status is None or state["status"] == where.status)
            and (where.since_us is None or run.at_us >= where.since_us)
            and (where.until_us is None or run.at_us < where.until_us)
            and (not key or (key in state["tags"] and (not value or str(state["tags"][key]) == value)))
            and (
                where.q is None
                or run.run_id.startswith(where.q)
                or where.q.lower() in state["pipeline"].lower()
                or any(str(tag).startswith(where.q) for tag in state["tags"].values())
            )
        )

    for where in [
        RunFilter(pipeline="flights"), RunFilter(status="failed"), RunFilter(pipeline="other", status="running"),
        RunFilter(since_us=middle), RunFilter(until_us=middle), RunFilter(pipeline="Flights ü", since_us=middle),
        RunFilter(tag="env:prod"), RunFilter(tag="env"), RunFilter(tag="n:12"), RunFilter(tag="none"),
        RunFilter(tag="env:prod", status="failed", since_us=middle), RunFilter(tag="n", pipeline="other"),
        RunFilter(q="run-01"), RunFilter(q="LIGHT"), RunFilter(q="prod"), RunFilter(q="nothing"),
        RunFilter(q="flights", tag="env:test"), RunFilter(pipeline="x' OR 1=1 --"), RunFilter(q="%"), RunFilter(q="\x00"),
    ]:  # fmt: skip
        found = walk(lambda cursor, where=where: filled.runs(PROJECT, where, limit=4, cursor=cursor))  # type: ignore[misc]
        assert [run.run_id for run in found] == [run.run_id for run in everything if holds(run, where)], where


def test_steps_are_filtered_as_asked_and_newest_first(filled: Store) -> None:
    everything = walk(lambda cursor: filled.steps(PROJECT, StepFilter(), limit=9, cursor=cursor))
    assert len(everything) > 100
    assert all(a.at_us >= b.at_us for a, b in pairwise(everything))
    middle = T0 + 15 * 600_000_000

    def holds(step: StoredStep, where: StepFilter) -> bool:
        state, rate = step.state, step.rejection_rate
        return (
            all(
                wanted is None or state[name] == wanted
                for name, wanted in [
                    ("step_type", where.step_type), ("name", where.name), ("pipeline", where.pipeline), ("status", where.status),
                ]
            )
            and (where.reason is None or any(where.reason in reasons for reasons in state["reasons"].values()))
            and (where.rejection_rate_gt is None or (rate is not None and rate > where.rejection_rate_gt))
            and (where.rejection_rate_lt is None or (rate is not None and rate < where.rejection_rate_lt))
            and (where.duration_us_gt is None or (state["duration_us"] or 0) > where.duration_us_gt)
            and (where.since_us is None or step.at_us >= where.since_us)
            and (where.until_us is None or step.at_us < where.until_us)
        )  # fmt: skip

    for where in [
        StepFilter(step_type="filter"), StepFilter(name="rank"), StepFilter(pipeline="flights"), StepFilter(status="failed"),
        StepFilter(reason="price"), StepFilter(reason="price", name="rank", since_us=middle), StepFilter(reason="none"),
        StepFilter(rejection_rate_gt=0.9), StepFilter(step_type="filter", rejection_rate_gt=0.94), StepFilter(rejection_rate_gt=0.3),
        StepFilter(rejection_rate_lt=0.6), StepFilter(rejection_rate_gt=0.2, rejection_rate_lt=0.9),
        StepFilter(duration_us_gt=1_000), StepFilter(duration_us_gt=15_000_000), StepFilter(duration_us_gt=10**15),
        StepFilter(since_us=middle), StepFilter(until_us=middle), StepFilter(step_type="rank", since_us=middle, until_us=middle + HOUR_US),
        StepFilter(name="rank", pipeline="other", status="failed", step_type="rank"), StepFilter(step_type="no such"),
        StepFilter(status="failed", rejection_rate_gt=0.9, reason="late"), StepFilter(rejection_rate_gt=-1e300),
    ]:  # fmt: skip
        found = walk(lambda cursor, where=where: filled.steps(PROJECT, where, limit=4, cursor=cursor))  # type: ignore[misc]
        expected = [(s.run_id, *s.key) for s in everything if holds(s, where)]
        assert [(s.run_id, *s.key) for s in found] == expected, where


def test_pages_neither_repeat_nor_skip_while_newer_runs_arrive(filled: Store) -> None:
    rng, seen, cursor = random.Random(1), [], None
    before = {run.run_id for run in walk(lambda c: filled.runs(PROJECT, RunFilter(), limit=100, cursor=c))}
    for i in range(100, 200):
        page = filled.runs(PROJECT, RunFilter(), limit=3, cursor=cursor)
        seen += [run.run_id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        filled.write([Batch(run_records(i, rng), PROJECT, T0)])
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


def test_the_steps_of_a_run_come_in_the_order_in_which_they_started_in_pages(filled: Store) -> None:
    steps = [
        StepRecord(v=1, run_id="big", step_id=f"s{i}", part="a", name="mapped", started_us=T0 + i // 3, index=i)
        for i in range(50)
    ]
    random.Random(3).shuffle(steps)
    filled.write([Batch(steps, PROJECT, T0)])
    found = walk(lambda cursor: filled.run_steps(PROJECT, "big", limit=7, cursor=cursor))
    assert [step.step_id for step in found] == [f"s{i}" for i in range(50)]
    (group,) = filled.step_groups(PROJECT, ["big"])["big"]
    assert (group.name, group.steps) == ("mapped", 50)


def test_the_groups_of_several_runs_are_those_of_each(store: Store) -> None:
    """The last attempt of each step counts; ids of every kind, a run without steps, and one that is not there."""
    runs = ["0199aaaa-0000-7000-8000-000000000001", "plain", "é", "empty"]
    records: list[Any] = [RunRecord(v=1, run_id=run_id, part="a", pipeline="p") for run_id in runs]
    for place, run_id in enumerate(runs[:3]):
        records += [
            StepRecord(v=1, run_id=run_id, step_id=f"s{n}", attempt=attempt, part="a", name=f"name {n % 2}", started_us=T0 + n, index=n,
                       status="failed" if attempt < 2 else "completed", input_count=10, counts={"rejected": place + attempt, "accepted": 1})
            for n in range(4) for attempt in (1, 2)
        ]  # fmt: skip
    assert store.write([Batch(records, PROJECT, T0), Batch(records[4:], "another project", T0)]) == [{}, {}]
    found = store.step_groups(PROJECT, [*runs, "nowhere"])
    assert list(found) == [*runs, "nowhere"]
    assert (found["empty"], found["nowhere"], store.step_groups(PROJECT, [])) == ([], [], {})
    for place, run_id in enumerate(runs[:3]):
        assert [(each.name, each.steps, each.failed, each.rejected) for each in found[run_id]] == [
            ("name 0", 2, 0, 2 * (place + 2)),
            ("name 1", 2, 0, 2 * (place + 2)),
        ]
        assert found[run_id] == store.step_groups(PROJECT, [run_id])[run_id]


def test_nothing_crosses_projects(filled: Store) -> None:
    (run,) = filled.runs("another project", RunFilter(), limit=10).items
    assert (run.run_id, run.step_count) == ("run-000", 0)
    assert filled.steps("another project", StepFilter(), limit=10).items == []
    assert filled.runs("no such project", RunFilter(), limit=10).items == []
    assert filled.run_steps("another project", "run-000", limit=10).items == []
    assert filled.pipelines("another project") == ["flights"]
    assert filled.trend("another project", pipeline=None, name=None, since_us=0, until_us=T0 * 2) == []


def test_hourly_sums_are_those_of_the_steps(filled: Store) -> None:
    steps = walk(lambda cursor: filled.steps(PROJECT, StepFilter(), limit=100, cursor=cursor))
    points = filled.trend(PROJECT, pipeline=None, name=None, since_us=0, until_us=T0 * 2)
    assert sum(point.steps for point in points) == len(steps)
    assert sum(point.rejected for point in points) == sum(step.ledger.rejected for step in steps)
    assert sum(point.reasons.get("price", 0) for point in points) == sum(
        reasons.get("price", 0) for step in steps for reasons in step.state["reasons"].values()
    )
    only = filled.trend(PROJECT, pipeline="flights", name="rank", since_us=T0, until_us=T0 + HOUR_US)
    assert {(point.pipeline, point.name) for point in only} == {("flights", "rank")}


def test_an_item_is_found_in_every_set_of_a_run_that_holds_it_and_says_how_surely(store: Store) -> None:
    """Ids are exact; fingerprints come with the chance of an error; large sets are read in pieces."""
    many = [verdicts.hash64(f"item-{i}") for i in range(60_000)]
    store.write([Batch([
        VerdictsRecord(1, "r", "large", [
            VerdictSet("rejected", len(many), "late", fp40=verdicts.encode(many)),
            VerdictSet("accepted", 2, None, fp40=verdicts.encode([verdicts.hash64("kept"), verdicts.hash64("item-x")])),
        ], 1, "a", "0"),
        VerdictsRecord(1, "r", "small", [VerdictSet("in", 2, None, ["kept", "item-7"]), VerdictSet("out", 1, None, ["kept"])], 1, "a", "0"),
        VerdictsRecord(1, "other run", "small", [VerdictSet("in", 1, None, ["kept"])], 1, "a", "0"),
    ], PROJECT, T0)])  # fmt: skip

    def found(item: str) -> set[tuple[str, str, str | None, bool]]:
        sets = store.look_up(PROJECT, "r", item)
        return {(each.step_id, each.outcome, each.reason, each.found == "exact") for each in sets if each.found}

    assert found("item-7") == {("large", "rejected", "late", False), ("small", "in", None, True)}
    assert found("item-59999") == {("large", "rejected", "late", False)}
    assert found("kept") == {
        ("large", "accepted", None, False),
        ("small", "in", None, True),
        ("small", "out", None, True),
    }
    assert found("never") == set()
    (late,) = (each for each in store.look_up(PROJECT, "r", "item-59999") if each.found)
    assert (late.n, late.n_fingerprints) == (60_000, 60_000)
    (seen,) = store.item_runs(PROJECT, "item-59999", pipeline=None, limit=10).items
    assert [each.p_false for each in seen.sightings] == [pytest.approx(60_000 / 2**40)]
    assert {(s.step_id, s.outcome, s.n, s.ids is None) for s in store.sets(PROJECT, "r")} == {
        ("large", "rejected", 60_000, True), ("large", "accepted", 2, True), ("small", "in", 2, False), ("small", "out", 1, False),
    }  # fmt: skip


def test_samples_of_a_live_chunk_are_replaced_by_their_newest_snapshot(store: Store) -> None:
    def snapshot(rev: int, *items: str) -> SamplesRecord:
        return SamplesRecord(
            1, "r", "s", sample_text(Sample(i, "rejected", "late", {"n": i}) for i in items), 1, "a", "live", rev
        )

    for record in (snapshot(1, "a"), snapshot(3, "a", "b"), snapshot(2, "z")):
        store.write([Batch([record], PROJECT, T0)])
    found = store.samples(PROJECT, "r", [("s", 1)])
    assert [sample["item_id"] for sample in found["s", 1]] == ["a", "b"]
    assert store.samples(PROJECT, "r") == found


@pytest.mark.parametrize("where", [{}, {"reason": "price"}, {"step_type": "filter", "until_us": T0 + 5 * HOUR_US}])
def test_steps_with_their_samples_come_as_steps_do(filled: Store, where: dict[str, Any]) -> None:
    chosen = StepFilter(**where)
    plain = walk(lambda cursor: filled.steps(PROJECT, chosen, limit=1_000, cursor=cursor))
    sampled = plain[::2]
    held = {(step.run_id, step.step_id): [f"item {n}"] for n, step in enumerate(sampled)}
    records: list[Record] = [
        SamplesRecord(1, *key, sample_text([Sample(item, "rejected")]), 1, "a", "live") for key, [item] in held.items()
    ]
    filled.write([Batch(records, PROJECT, T0)])
    expected = [
        (step.run_id, *step.key, step.at_us, step.state["pipeline"], step.state["name"], held.get((step.run_id, step.step_id), []))
        for step in plain
    ]  # fmt: skip
    for limit in (7, 1_000):
        ask = partial(filled.sampled_steps, PROJECT, chosen, limit=limit)
        found = walk(lambda cursor, ask=ask: ask(cursor=cursor))
        items = [[sample["item_id"] for sample in step.samples] for step in found]
        assert [
            (step.run_id, step.step_id, step.attempt, step.at_us, step.pipeline, step.name, of)
            for step, of in zip(found, items)
        ] == expected
    assert not filled.sampled_steps("none", chosen, limit=5).items
    first = filled.sampled_steps(PROJECT, chosen, limit=5)
    assert first.next_cursor == first.items[-1].cursor == filled.steps(PROJECT, chosen, limit=5).next_cursor
    after = filled.sampled_steps(PROJECT, chosen, limit=5, cursor=first.items[2].cursor)
    assert [step.step_id for step in after.items] == [step.step_id for step in plain[3:8]]


def test_steps_before_their_run_are_there_and_belong_to_it_when_it_comes(store: Store) -> None:
    step = StepRecord(v=1, run_id="r", step_id="s", part="a", name="f", started_us=T0)
    store.write([Batch([step], PROJECT, T0 + 5)])
    early = store.run(PROJECT, "r")
    assert early is not None
    assert (early.known, early.step_count, early.state["status"]) == (False, 1, "running")
    store.write(
        [
            Batch(
                [RunRecord(v=1, run_id="r", part="a", pipeline="p", status="completed", started_us=T0)], PROJECT, T0 + 9
            )
        ]
    )
    late = store.run(PROJECT, "r")
    assert late is not None
    assert (late.known, late.step_count, late.state["pipeline"], late.at_us) == (True, 1, "p", T0)


def test_clients_say_what_they_dropped_and_their_newest_word_counts(store: Store) -> None:
    for rev in (2, 1):
        store.write([Batch([ClientRecord(v=1, part="c", rev=rev, host="h", counters={"dropped": rev})], PROJECT, T0)])
    (client,) = store.clients(PROJECT, limit=10)
    assert (client.host, client.counters) == ("h", {"dropped": 2})


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjE", "é"])
def test_a_cursor_of_nobody_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursorError):
        store.runs(PROJECT, RunFilter(), limit=1, cursor=cursor)


def test_an_item_is_found_across_the_runs_that_hold_it_in_pages(store: Store) -> None:
    for i in range(30):
        ids = ["wanted" if i % 3 == 0 else "other", f"item-{i}"]
        sets = [VerdictSet("rejected", 2, "late", ids)] if i % 2 else [VerdictSet("rejected", 2, "late", fp40=verdicts.encode(map(verdicts.hash64, ids)))]  # fmt: skip
        records: list[Record] = [
            RunRecord(v=1, run_id=f"r{i}", part="a", pipeline=f"p{i % 2}", started_us=T0 + i),
            StepRecord(v=1, run_id=f"r{i}", step_id="s", attempt=1, part="a", name="filter", started_us=T0 + i),
            VerdictsRecord(1, f"r{i}", "s", sets, 1, "a", "0"),
        ]
        store.write([Batch(records, PROJECT, T0 + i)])
    found = walk(lambda cursor: store.item_runs(PROJECT, "wanted", pipeline=None, limit=3, cursor=cursor))
    assert [run.run_id for run in found] == [f"r{i}" for i in range(27, -1, -3)]
    assert [(s.step, s.outcome, s.reason, s.exact) for s in found[0].sightings] == [
        ("filter", "rejected", "late", True)
    ]
    only = store.item_runs(PROJECT, "wanted", pipeline="p0", limit=100).items
    assert [run.run_id for run in only] == ["r24", "r18", "r12", "r6", "r0"]
    assert store.item_runs(PROJECT, "never", pipeline=None, limit=10).items == []
    assert store.item_runs("another project", "wanted", pipeline=None, limit=10).items == []


def test_huge_values_are_kept_and_a_word_that_a_store_cannot_hold_is_refused_alone(store: Store) -> None:
    big = {"text": "é\x00" * 1_000_000, "deep": [[["x"] * 1000] * 100]}
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 256)))  # of three bytes each, and no two alike
    records: list[Record] = [
        RunRecord(v=1, run_id=letters, part="a", pipeline=letters * 2, input=big, tags={letters: letters}),
        StepRecord(v=1, run_id=letters, step_id=letters, part=letters, name=letters * 2, step_type=letters, output=big),
        SamplesRecord(1, letters, letters, sample_text([Sample(letters, "rejected", letters, big)]), 0, "a", letters, 1),
        StepRecord(v=1, run_id="odd", step_id="s", part="a", name="\ue000" * 512),  # doubled in PostgreSQL, beyond an index entry
        RunRecord(v=1, run_id="last", part="a", pipeline="p"),
    ]  # fmt: skip
    (refused,) = store.write([Batch(records, PROJECT, T0)])
    assert set(refused) <= {3}
    run = store.run(PROJECT, letters)
    assert run is not None
    assert (run.state["pipeline"], run.state["input"], run.state["tags"]) == (letters * 2, big, {letters: letters})
    (step,) = store.step(PROJECT, letters, letters)
    assert (step.state["name"], step.state["output"]) == (letters * 2, big)
    assert store.samples(PROJECT, letters)[letters, 0][0]["details"] == big
    assert store.run(PROJECT, "last") is not None
    found = store.steps(PROJECT, StepFilter(name="\ue000" * 512), limit=10).items
    assert len(found) == (0 if refused else 1)


def test_a_mark_is_a_part_of_its_run_and_the_newest_counts(store: Store) -> None:
    store.write([Batch([RunRecord(1, "r1", "p", 1, "pipe", "completed", T0, T0 + 9, 9, tags={"team": "fares"})])])
    for rev, word in enumerate(("good", "bad", "none", "good"), start=1):
        run = store.run("default", "r1")
        assert run is not None
        store.write([Batch([mark_record(run, word, "because", rev)])])
        marked = store.run("default", "r1")
        assert marked is not None
        assert mark_of(marked) == (None if word == "none" else word, "because"), "a note needs no mark"
        assert (marked.state["status"], marked.state["tags"]["team"]) == ("completed", "fares")
        found = store.runs("default", RunFilter(tag=f"{MARK_TAG}:good"), limit=5).items
        assert bool(found) is (word == "good")
