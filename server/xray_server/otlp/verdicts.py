"""From the documents of a span to verdicts, as the sets, counts, scores and samples that records hold.

What a step left out is `not_selected`, an implicit no: no dialect says why, so the reason is that it is not in the output. A
cut-off is named only where the scores bear it out: nothing that was left out scored higher than what was kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import xxhash

from xray_core import verdicts
from xray_core.model import ITEMS_IN, ITEMS_OUT, Outcome
from xray_server.otlp.documents import Document
from xray_server.otlp.evidence import Evidence
from xray_server.records.schema import ItemSet, Sample, VerdictSet

NOT_IN_OUTPUT: Final = "not_in_output"
MAX_SAMPLES: Final = 200  # of a step, kept and left out each: the verdicts are complete, their scores need not be
_MAX_TEXT_CHARS: Final = 200
_MAX_FIELDS: Final = 20


@dataclass(frozen=True, slots=True)
class Scored:
    """One list of documents with its scores on one scale."""

    kept: Mapping[str, float | None]
    left_out: Mapping[str, float | None]

    @property
    def cut(self) -> tuple[float, str] | None:
        """The lowest score that was kept, if scores can be what decided."""
        kept = [(score, item) for item, score in self.kept.items() if score is not None]
        if not kept or len(kept) < len(self.kept):
            return None
        lowest = min(kept)
        above = [score for score in self.left_out.values() if score is not None and score > lowest[0]]
        return None if above else lowest


def scored(came_out: Sequence[Document], came_in: Sequence[Document], left_out: Sequence[Document]) -> Scored:
    """The scores of what was kept and what was left out; those of the latter only where both are on one scale."""
    before = {each.id: each.score for each in came_in}
    rescored = any(
        each.score is not None and before.get(each.id) is not None and before[each.id] != each.score
        for each in came_out
    )
    kept = {each.id: each.score if each.score is not None else before.get(each.id) for each in came_out}
    known = any(score is not None for score in kept.values())
    comparable = not rescored and (not known or any(before.get(item) is not None for item in kept))
    return Scored(kept, {each.id: each.score if comparable else None for each in left_out})


def item_set(documents: Sequence[Document], source: str | None = None) -> ItemSet:
    """What a step's record says of a list of documents; `source` is where they came from."""
    ids = [each.id for each in documents]
    hashes = _hashes(ids)
    order = xxhash.xxh3_64_hexdigest(hashes.tobytes())
    return ItemSet(
        n=len(ids),
        sum=f"{verdicts.sum64(hashes):016x}",
        order=order,
        distinct=len(set(ids)),
        inferred=True,
        source=source,
    )


def sum_of(ids: Sequence[str]) -> str:
    """The sum of the hashes of these ids, as 16 hexadecimal digits."""
    return f"{verdicts.sum64(_hashes(ids)):016x}"


def _hashes(ids: Sequence[str]) -> array[int]:
    return array("Q", [verdicts.hash64(each) for each in ids])


def sets_of(evidence: Evidence) -> list[VerdictSet]:
    """The sets of a step by its own span alone."""
    sets: list[VerdictSet] = []
    if evidence.came_in is not None and evidence.complete:
        sets.append(_set(ITEMS_IN, None, [each.id for each in evidence.came_in]))
        kept = list(dict.fromkeys(each.id for each in evidence.came_out))
        sets += [
            _set("selected", None, kept),
            _set("not_selected", NOT_IN_OUTPUT, [each.id for each in evidence.dropped]),
        ]
    sets.append(_set(ITEMS_OUT, None, [each.id for each in evidence.came_out]))
    return [each for each in sets if each.n]


def _set(outcome: Any, reason: str | None, ids: list[str]) -> VerdictSet:
    return VerdictSet(outcome=outcome, reason=reason, n=len(ids), ids=ids)


def samples_of(
    documents: Sequence[Document], outcome: Outcome, scores: Mapping[str, float | None], at_us: int
) -> list[Sample]:
    """Samples of the first documents of a list, with their places where they came out."""
    came_out = outcome in ("accepted", "selected")
    return [
        Sample(
            item_id=each.id,
            outcome=outcome,
            reason=None if came_out else NOT_IN_OUTPUT,
            details=_details(each, scores.get(each.id)) or None,
            score=scores.get(each.id),
            rank=place + 1 if came_out else None,
            at_us=at_us,
        )
        for place, each in enumerate(documents[:MAX_SAMPLES])
    ]


def _details(document: Document, score: float | None) -> dict[str, Any]:
    """What tells a person which document this is; the score it came with, where that is on another scale."""
    scalars = [
        (name, value if not isinstance(value, str) else value[:_MAX_TEXT_CHARS])
        for name, value in (document.metadata or {}).items()
        if isinstance(value, (str, int, float, bool)) and len(name) <= 100
        and not (isinstance(value, int) and abs(value) >= 1 << 53)
    ][:_MAX_FIELDS]  # fmt: skip
    details: dict[str, Any] = {name: value for name, value in scalars if value != score}
    if document.text:
        details["text"] = document.text[:_MAX_TEXT_CHARS]
    if score is None and document.score is not None:
        details["input_score"] = document.score
    return details
