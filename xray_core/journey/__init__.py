"""Why: what became of one item in one run, step by step, in one sentence, and how certain each part of the answer is.

Pure: takes merged states, the sets that were looked up and the item's samples, and returns the answer; the server fetches
them from its store, `xray_core.testing` from memory. Knows no storage and no HTTP. docs/why.md says what each answer rests
on. The rule above all others: an item is called absent only where a complete set shows that it is.
"""

from xray_core.journey.child_runs import ChildRun, child_runs, is_settled, with_child_runs
from xray_core.journey.conservation import Gap, gaps
from xray_core.journey.coverage import uncaptured
from xray_core.journey.explain import explain, with_known_run
from xray_core.journey.sentences import details_text, say
from xray_core.journey.types import NEGATIVE, Certainty, Entry, LookedUp, State, StepKey, Why

__all__ = [
    "NEGATIVE",
    "Certainty",
    "ChildRun",
    "Entry",
    "Gap",
    "LookedUp",
    "State",
    "StepKey",
    "Why",
    "child_runs",
    "details_text",
    "explain",
    "gaps",
    "is_settled",
    "say",
    "uncaptured",
    "with_child_runs",
    "with_known_run",
]
