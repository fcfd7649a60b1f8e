"""Says beside an answer of the server which runs it is without, because they still wait on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xray_core.compare import say as say_of_runs
from xray_core.journey import say as say_of_item
from xray_core.plurals import plural
from xray_core.spool import WaitingRun, waiting_runs

if TYPE_CHECKING:
    from xray_core.settings import Settings

Json = dict[str, Any]


def why_with_waiting(answer: Json, settings: Settings, *, newest: bool) -> Json:
    """An answer of `why` with the runs that wait: its own, and newer ones of its pipeline where the newest was asked."""
    waiting = waiting_runs(settings)
    own = [each for each in waiting if each.run_id == answer["run_id"]]
    others = [each for each in waiting if newest and each not in own and each.pipeline == answer.get("pipeline")]
    text = "".join(say_of_item("waits_in_part", run=each.run_id) for each in own)
    if others:
        text += say_of_item("newer_waits", runs=_counted(others), wait=_wait(others))
    return _told(answer, text, own + others)


def diff_with_waiting(answer: Json, settings: Settings) -> Json:
    """An answer of `diff` with the runs that wait: the two themselves, and others of the pipeline that the baseline may be."""
    waiting = waiting_runs(settings)
    own = [each for each in waiting if each.run_id in (answer["a"], answer["b"])]
    baseline = answer.get("baseline")
    others = [each for each in waiting if baseline and each not in own and each.pipeline == baseline.get("pipeline")]
    text = "".join(say_of_runs("waits_in_part", run=each.run_id) for each in own)
    if others:
        text += say_of_runs("baseline_waits", runs=_counted(others), wait=_wait(others))
    return _told(answer, text, own + others)


def _told(answer: Json, text: str, waiting: list[WaitingRun]) -> Json:
    return {**answer, "sentence": answer["sentence"] + text, "waiting": [each.run_id for each in waiting]}


def _counted(runs: list[WaitingRun]) -> str:
    return plural(len(runs), "run")


def _wait(runs: list[WaitingRun]) -> str:
    return "waits" if len(runs) == 1 else "wait"
