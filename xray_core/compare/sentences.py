"""The sentences of `diff`: one table of templates. docs/why.md shows each with an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

TEMPLATES: Final[dict[str, str]] = {
    # nothing is known to differ
    "same": "the two runs came out the same wherever that can be told",
    "same_given_others": ", though they were given different inputs ({changes})",
    "too_little": "; of {n} {steps} too little was captured",
    "output_alone": "the outputs of the two runs differ, and no step that was captured shows where",
    # where they first differ
    "first_differs": "the runs first differ at {step}: {what}",
    "same_input": "the same input gave a different output",
    "same_items": "the same items, whose values were not captured, gave a different output",
    "common_items": "items that both runs had came out differently",
    "unknown_input": "its output differs, and what went into it was not captured",
    "given_something_else": "it was given something else, which no step before it explains",
    "given_by_run": "the runs were given different inputs, and it is the first step to show that",
    "missing": "only run {run} has this step",
    "nothing_changed": ", and neither its code nor its parameters changed",
    "no_code_version": ", and its parameters did not change; no code version was given",
    "something_changed": ", and its {what} changed",
    "order_alone": ", in order alone",
    "changes": " ({changes})",
    # what is added to it
    "lost": "; {gap}",
    "flipped": "; {about}{n} {items} came out differently",
    "common": "; of the items that both runs had, {n} came out differently at {step}",
    "other_inputs": "; the runs were also given different inputs ({changes})",
    "not_reached": "; its difference is not seen to reach the output of the run",
    "also": "; {steps} {differs} too, and not because of it",
    "uncertain": "; not certain: {reason}",
    "values_unknown": "the values that went into it were not captured",
    "before_unknown": "{steps} may differ before it, too little was captured",
    "inputs_differ": "the runs were given different inputs",
    "baseline": "; compared with {run}, {why}",
}


def say(template: str, **parts: object) -> str:
    """One template filled in."""
    return TEMPLATES[template].format(**parts)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def short(value: object) -> str:
    """A value in a sentence, at most 40 characters."""
    text = f'"{value}"' if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
