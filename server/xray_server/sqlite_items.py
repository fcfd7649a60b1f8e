"""Looking for one item in SQLite's chunks of verdicts: which sets hold it, and how large all of them are.

Owns the walk over one run's chunks. Knows nothing of what a verdict means (xray_core.journey does).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, cast

import msgspec

from xray_core import verdicts
from xray_core.journey import LookedUp
from xray_core.model import item_id_text
from xray_server.records import unpack
from xray_server.rows import FP40, SET_NAMES, id_text
from xray_server.sqlite_read import BlobWindow, Reader

_CHUNKS: Final = (
    "SELECT c.pk, length(c.data), step.pk, step.id, step.attempt, c.head FROM step "
    "JOIN verdict_chunk c ON c.step = step.pk WHERE step.run = ? ORDER BY step.pk, c.pk"
)


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
    for pk, size, step, step_key, attempt, head in reader.db.execute(
        _CHUNKS, (reader.run_pk(project, run_id),)
    ).fetchall():
        data = None
        for code, reason, n, form, offset, length in unpack(head):
            key = (step, code, reason)
            sets = found.get(key)
            if sets is None:
                sets = found[key] = _Sets(id_text(step_key), attempt, SET_NAMES[code], reason)
            sets.n += n
            if data is None:
                data = reader.verdict_data(pk, size)
            if form == FP40:
                sets.n_fingerprints += n
                blob = cast(bytes, BlobWindow(data, offset, length))
                if sets.found is None and verdicts.contains(blob, wanted):
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
