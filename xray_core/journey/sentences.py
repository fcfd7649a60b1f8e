"""The sentences of `why`: one table of templates, and how their parts are written. docs/why.md shows each with an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from xray_core.journey.step_evidence import StepEvidence

_MAX_DETAILS_CHARS: Final = 200

TEMPLATES: Final[dict[str, str]] = {
    # what happened
    "outcome": "{item} was {outcome} at {step}",
    "errored": "{item} errored at {step}",
    "dropped": "{item} was dropped at {step} without a reason",
    "lost_between": "{item} was dropped without a reason: {outcome} at {step}, it never reached {later}",
    "skipped_after": "; {later} never had it, and {skipped}, which may have been to get it, was skipped",
    "lost_here_or_there": "{item} was dropped without a reason: it entered {step} and never reached {later}; "
    "it was lost in {step} or in {silent}, which {tells} nothing about items",
    "lost_unseen": "{item} never reached {later}; it was {outcome} at {step}, "
    "and what became of it after that is not captured ({unsure}: {note})",
    "entered_unseen": "{item} entered {step} and never reached {later}; what became of it is not captured: {note}",
    "still_inside": "{item} entered {step}; what became of it is not captured: {note}",
    "never_entered": "{item} never entered: it is not among the items of {step}",
    "never_put_out": "{item} never entered {step}: it is not among the items that this step put out",
    "no_trace": "{item} left no trace in this run; {unsure} cannot tell: {note}",
    "no_items": "{item} left no trace: no step of this run tells anything about items; "
    "step.accept(), step.reject() and step.set_input_items() would",
    # what is added to it
    "reason": ": {reason}",
    "details": " ({details})",
    "cutoff": "; the last selected was {item}{score}",
    "implicit": " (nobody said so: it is among what came out)",
    "retried_silently": "; a later attempt tells nothing about items",
    "fingerprint": " [by fingerprint: wrong with probability {p}]",
    "also_dropped": " (nor did it come out of {steps})",
    "though": " (though {step} {outcome} it)",
    "unseen_after": "; what became of it after that is not captured ({step}: {note})",
    "unseen_before": "; whether it was there before is not captured ({step}: {note})",
    "silent_after": "; after that, {silent} {tells} nothing about items",
    "silent_before": "; before that, {silent} {tells} nothing about items",
    "silent_between": "; in between, {silent} {tells} nothing about items",
    "changed": "; {step} changed {changes}",
    "child_run": "; in its child run {run}: {sentence}",
    "in_child_run": " (in its child run {run})",
    "known_run": "; run {run} of {at} knows it",
    "waits_in_part": "; a part of {run} waits on this machine",
    "newer_waits": "; this may not be the newest run: {runs} {wait} on this machine",
    # of a run: what is not conserved between its steps, and which were not captured
    "lost_between_steps": "{n} of {of} that came out of {step} did not go into {later} or a step after it{names}",
    "inferred": " (inferred: nobody said so)",
    "duplicated": "{items} of the {of} that went into {step} went in more than once{names}",
    "handed_over": "at least {n} of the {of} that this run handed to {to} {were} not captured: {note}",
    "uncaptured": "{n} of {of} {were} not captured by the process that ran {them} ({names}): {note}",
}


def say(template: str, **parts: object) -> str:
    """One template filled in; `silent` may be a list of step paths."""
    silent = parts.get("silent")
    if isinstance(silent, (list, tuple)):
        parts["silent"] = listed(silent)
        parts["tells"] = "tells" if len(set(silent)) == 1 else "tell"
    return TEMPLATES[template].format(**parts)


def outcome_sentence(item_id: str, evidence: StepEvidence) -> str:
    """What one step did with the item, with reason, details, score, cut-off and doubt."""
    kind = evidence.outcome if evidence.outcome in ("dropped", "errored") else "outcome"
    text = say(kind, item=item_id, step=evidence.path, outcome=outcome_words(evidence.outcome))
    if evidence.reason:
        text += say("reason", reason=evidence.reason)
    about: list[str] = [details_text(evidence.details)] if evidence.details else []
    if evidence.outcome in ("selected", "not_selected"):
        about += [f"score {evidence.score}"] if evidence.score is not None else []
        about += [f"rank {evidence.rank}"] if evidence.rank is not None and evidence.outcome == "not_selected" else []
    if about:
        text += say("details", details="; ".join(about))
    if evidence.cutoff is not None:
        score = "" if evidence.cutoff["score"] is None else f" with {evidence.cutoff['score']}"
        text += say("cutoff", item=evidence.cutoff["item_id"], score=score)
    if evidence.implicit:
        text += say("implicit")
    if evidence.retried_silently:
        text += say("retried_silently")
    return text + doubt(evidence)


def outcome_words(outcome: str | None) -> str:
    """An outcome as it stands in a sentence."""
    return {"not_selected": "not selected"}.get(outcome or "", outcome or "")


def doubt(evidence: StepEvidence) -> str:
    """How likely an answer by fingerprint is wrong; nothing where an id was compared."""
    return say("fingerprint", p=f"{evidence.p_false:.0e}") if evidence.certainty == "fingerprint" else ""


def details_text(details: Any) -> str:
    """Details as "dest IAH; wanted LAX, BUR", cut at 200 characters."""
    if isinstance(details, Mapping):
        text = "; ".join(f"{key} {_value_text(value)}" for key, value in details.items())
    else:
        text = _value_text(details)
    return text if len(text) <= _MAX_DETAILS_CHARS else text[: _MAX_DETAILS_CHARS - 1] + "…"


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value_text, value[:20]))
    return {True: "true", False: "false", None: "none"}[value] if value is None or value is True or value is False else str(value)  # fmt: skip


def listed(names: Sequence[str]) -> str:
    """The first three names, and how many more."""
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:3])
    return shown if len(unique) <= 3 else f"{shown} and {len(unique) - 3} more"
