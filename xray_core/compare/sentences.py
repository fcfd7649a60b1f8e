"""The sentences of `diff`: one table of templates. docs/why.md shows each with an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MAX_CHARS: Final = 40
_ALL_DIGITS: Final = 17
_CHARS_BEFORE: Final = 8  # of what two long values have in common

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
    "unknown_output": "what it put out was not captured",
    "rewritten": "what it put out is equal, though not of the same types or not in the same order, and {later} differs after it",
    "in_place": "{later} was given something else after it, and nothing tells what this step made of what both were given",
    "given_something_else": "it was given something else, which no step before it explains",
    "given_by_run": "the runs were given different inputs, and it is the first step to show that",
    "missing": "only run {run} has this step",
    "nothing_changed": ", and neither its code version nor its parameters changed",
    "ran_inside": ", and its parameters did not change; what ran inside it is in runs of its own, {a} and {b}: compare these",
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
    "same_output": "; the two runs have the same output",
    "also": "; {steps} {differs} too, by {itself} as far as was captured",
    "masked": "; {step} was given something else, and its code or parameters changed too",
    "uncertain": "; not certain: {reason}",
    "same_value": "what it put out is equal in value",
    "made_up": "what it put out differs in random ids alone, which it may have made up",
    "output_unknown": "it is not known to have put out something else",
    "values_unknown": "the values that went into it were not captured",
    "given_less": "more went into it than what was captured of its input",
    "given_close": "what went into it is equal, though not to the last digit, not of the same types or not in the same order",
    "given_generated": "what went into it is equal but for ids, times or hosts, which are others in every run",
    "given_others": "what went into it differs as well",
    "before_unknown": "{steps} may differ before it, too little was captured",
    "before_refers": "what {steps} put out is equal and may stand for more, as a path or a count does",
    "before_close": "what {steps} put out is equal, though not to the last digit, not of the same types or not in the same order",
    "before_generated": "what {steps} put out is equal but for ids, times or hosts",
    "before_differs": "{steps} {differs} before it",
    "inputs_differ": "the runs were given different inputs",
    "inputs_unknown": "what the runs were given was not captured",
    "waits_in_part": "; a part of {run} waits on this machine",
    "baseline_waits": "; the baseline may be older: {runs} {wait} on this machine",
    "baseline": "; compared with {run}, {why}",
}


def say(template: str, **parts: object) -> str:
    """One template filled in."""
    return TEMPLATES[template].format(**parts)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, each once, and how many more."""
    names = list(dict.fromkeys(names))
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def short_pair(a: object, b: object) -> tuple[str, str]:
    """Two values that differ, in a sentence: at most 40 characters each, among them those in which they differ."""
    for digits in (6, 9, 12, _ALL_DIGITS):
        one, other = _text(a, digits), _text(b, digits)
        if one != other:
            break
    start = _first_difference(one, other)
    if max(len(one), len(other)) > _MAX_CHARS and start >= _MAX_CHARS - 1:
        one, other = (f"…{text[start - _CHARS_BEFORE :]}" for text in (one, other))
    return _cut(one), _cut(other)


def _text(value: object, digits: int) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:.{digits}g}" if isinstance(value, float) and digits < _ALL_DIGITS else str(value)


def _first_difference(one: str, other: str) -> int:
    return next((at for at, (x, y) in enumerate(zip(one, other)) if x != y), min(len(one), len(other)))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"
