"""Which steps of a run were not captured by the process that ran them; asked by `xray show` and by the run's page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from xray_core.journey.sentences import say
from xray_core.model import NOT_REACHED
from xray_core.plurals import plural

_MAX_NAMES: Final = 4


def uncaptured(steps: Iterable[Mapping[str, Any]]) -> str | None:
    """Of which steps only the framework's report is known, in one sentence with why; None where there is no such step.

    Args:
        steps: merged states, or steps as the API gives them: {name, status, metadata}. Those that never ran do not count.
    """
    ran = [step for step in steps if step["status"] != "skipped"]
    missed = [step for step in ran if NOT_REACHED in (step["metadata"] or {})]
    if not missed:
        return None
    names = list(dict.fromkeys(str(step["name"]) for step in missed))
    shown = ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
    were, them = ("was", "it") if len(missed) == 1 else ("were", "them")
    note = missed[0]["metadata"][NOT_REACHED]
    return say(
        "uncaptured", n=f"{len(missed):,}", of=plural(len(ran), "step"), were=were, them=them, names=shown, note=note
    )
