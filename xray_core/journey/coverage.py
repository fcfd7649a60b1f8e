"""What of a run was not captured by the process that ran it; asked by `xray show` and by the run's page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from xray_core.journey.sentences import say
from xray_core.model import HANDED_OVER, NOT_REACHED
from xray_core.plurals import plural

_MAX_NAMES: Final = 4


def uncaptured(
    steps: Iterable[Mapping[str, Any]], *, metadata: Mapping[str, Any] | None = None, step_count: int = 0
) -> list[str]:
    """Of which steps only the framework's report is known, and how many are not known at all, each with why or what to do.

    Args:
        steps: merged states, or steps as the API gives them: {name, status, metadata}. Those that never ran do not count.
        metadata: of the run.
        step_count: how many steps the run has, where `steps` may be some of them.
    """
    about, ran = metadata or {}, [step for step in steps if step["status"] != "skipped"]
    missed = [step for step in ran if NOT_REACHED in (step["metadata"] or {})]
    found = [_of_steps(ran, missed)] if missed else [str(about[NOT_REACHED])] if about.get(NOT_REACHED) else []
    handed_over = about.get(HANDED_OVER)
    if isinstance(handed_over, Mapping):
        found += _of_tasks(handed_over, max(step_count, len(ran)))
    return found


def _of_steps(ran: list[Mapping[str, Any]], missed: list[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(str(step["name"]) for step in missed))
    shown = ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
    were, them = ("was", "it") if len(missed) == 1 else ("were", "them")
    note = (missed[0]["metadata"] or {})[NOT_REACHED]
    return say(
        "uncaptured", n=f"{len(missed):,}", of=plural(len(ran), "step"), were=were, them=them, names=shown, note=note
    )


def _of_tasks(handed_over: Mapping[str, Any], step_count: int) -> list[str]:
    """What the others captured is at most what the run has beside its own process's steps: some of that may be nested in tasks."""
    n, own = handed_over.get("n"), handed_over.get("own")
    if not isinstance(n, int) or not isinstance(own, int) or n <= step_count - own:
        return []
    missing = n - max(0, step_count - own)
    were, to, note = "was" if missing == 1 else "were", handed_over.get("to"), handed_over.get("note")
    return [say("handed_over", n=f"{missing:,}", of=plural(n, "task"), to=to, were=were, note=note)]
