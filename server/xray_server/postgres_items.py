"""Looking for one item in PostgreSQL's chunks of verdicts: which sets hold it, and how large all of them are.

Owns the walk over one run's chunks. Knows nothing of what a verdict means (xray_core.journey does).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

import msgspec

from xray_core import verdicts
from xray_core.journey import LookedUp
from xray_core.model import item_id_text
from xray_server.postgres_read import Reader, Window
from xray_server.rows import FP40, SET_NAMES


@dataclass(slots=True)
class _Sets:
    """The chunks of one outcome and reason at one step attempt, so far."""

    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    n: int = 0
    n_fingerprints: int = 0
    ids: set[str] = field(default_factory=set)
    found: Literal["exact", "fingerprint"] | None = None
    position: int | None = None


def look_up(reader: Reader, project: str, run_id: str, item_id: str) -> list[LookedUp]:
    """All sets of a run, and whether each holds the item: ids are compared, fingerprints are searched where they lie."""
    text = item_id_text(item_id)
    wanted = verdicts.fingerprint(text)
    found: dict[tuple[int, int, str | None], _Sets] = {}
    for step, step_id, attempt, head, data in reader.chunks(project, run_id):
        for code, reason, n, form, offset, length in head:
            key = (step, code, reason)
            sets = found.get(key)
            if sets is None:
                sets = found[key] = _Sets(step_id, attempt, SET_NAMES[code], reason)
            sets.n += n
            if form == FP40:
                sets.n_fingerprints += n
                if sets.found is None and verdicts.contains(cast(bytes, Window(data, offset, length)), wanted):
                    sets.found = "fingerprint"
                continue
            ids = msgspec.json.decode(data[offset : offset + length])
            sets.ids.update(ids)
            if sets.found != "exact" and text in ids:
                sets.found, sets.position = "exact", ids.index(text)
    return [
        LookedUp(s.step_id, s.attempt, s.outcome, s.reason, s.n, s.n_fingerprints, len(s.ids), s.found, s.position)
        for s in found.values()
    ]
