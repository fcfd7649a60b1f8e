"""X-Ray's ledger as Dagster metadata: what Dagster's own pages then show beside an output, with a link to the why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from xray_core.capture.step import Step

_TOP_REASONS = 3


def ledger_metadata(step: Step, api_url: str, before: Mapping[str, int]) -> dict[str, Any]:
    """The ledger so far, by the names it has in Dagster; empty when no item was decided.

    The numbers are plain ints, so that Dagster draws them over an asset's materializations.

    Args:
        before: of a graph asset, the step before this one -> the items that it rejected. The asset shows this step's alone.
    """
    ledger = step.ledger
    if not (before or ledger.rejected or ledger.not_selected or ledger.errored or ledger.accepted):
        return {}
    from dagster import MetadataValue

    figures = {"xray/input": ledger.input, "xray/accepted": ledger.accepted, "xray/rejected": ledger.rejected}
    return {
        "xray": sentence(step, before),
        **{name: n for name, n in figures.items() if n is not None},  # of a step that decided nothing itself
        **({"xray/rejected_before": sum(before.values())} if before else {}),
        "xray/run": MetadataValue.url(f"{api_url}/ui/runs/{quote(step.run_id)}"),
    }


def sentence(step: Step, before: Mapping[str, int]) -> str:
    """As in "rejected 99.9% of 12,000: wrong_day 9,000, too_late 2,990; see X-Ray"."""
    ledger = step.ledger
    parts = []
    if ledger.rejected and ledger.rejection_rate is not None:
        reasons = sorted(step.rejection_counts.items(), key=lambda pair: -pair[1])
        named = ", ".join(f"{reason} {n:,}" for reason, n in reasons[:_TOP_REASONS])
        more = f" and {len(reasons) - _TOP_REASONS} more" if len(reasons) > _TOP_REASONS else ""
        parts.append(f"rejected {_percent(ledger.rejection_rate)} of {ledger.input:,}: {named}{more}")
    elif ledger.input is not None:
        parts.append(f"{ledger.accepted:,} of {ledger.input:,} accepted")
    if ledger.selected:
        parts.append(f"{ledger.selected:,} selected")
    if ledger.errored:
        parts.append(f"{ledger.errored:,} errored")
    if ledger.unaccounted and not ledger.inferred and ledger.unaccounted > 0:
        parts.append(f"{ledger.unaccounted:,} unaccounted")
    parts += [f"{n:,} rejected before it, at {name}" for name, n in before.items()]
    return "; ".join(parts) + "; see X-Ray"


def _percent(rate: float) -> str:
    """Never 100% of what is not all, and never 0% of something."""
    if 0 < rate < 1:
        for digits in (1, 2, 3, 4):
            text = f"{rate:.{digits}%}"
            if float(text[:-1]) not in (0.0, 100.0):
                return text
    return f"{rate:.0%}"
