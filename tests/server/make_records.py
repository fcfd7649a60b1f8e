"""A run of one step as one process would send it: for tests in which several do."""

from __future__ import annotations

from xray_server.records.schema import (
    Record,
    RunRecord,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    sample_text,
)

T0 = 1_760_000_000_000_000


def records_of(run: int, part: str) -> list[Record]:
    run_id = f"run-{run}"
    return [
        RunRecord(v=1, run_id=run_id, part=part, rev=1, pipeline="p", started_us=T0 + run, tags={part: run}),
        StepRecord(v=1, run_id=run_id, step_id="s", attempt=1, part=part, rev=1, name=f"step of {part}", counts={"rejected": 1},
                   reasons={"rejected": {f"reason {part} {run}": 1}}, started_us=T0 + run),
        VerdictsRecord(1, run_id, "s", [VerdictSet("rejected", 1, "late", [part])], 1, part, "0"),
        SamplesRecord(1, run_id, "s", sample_text([]), 1, part, "live", 1),
    ]  # fmt: skip
