"""Inferred items as they are written: sets like those the user gives, marked `inferred`, which the user's own win over."""

from __future__ import annotations

import re
from typing import Any, Final

from xray_core.capture import item_fields
from xray_core.capture.inference.observed import Inferred, key_in_words
from xray_core.capture.inference.relation import Side
from xray_core.capture.recorder import Recorder
from xray_core.capture.values import CapturedValues
from xray_core.capture.verdict_log import VerdictLog
from xray_core.model import ITEMS_IN, ITEMS_OUT
from xray_core.verdicts import sum64

_MAIL: Final = re.compile(r"[^\s@]@[^\s@]+\.")  # an address names a person, and nobody asked to keep it


def write(found: Inferred, log: VerdictLog, values: CapturedValues, recorder: Recorder) -> None:
    """Write what was found of a step's items, but not what the user said of them already."""
    related = found.related
    sides = [
        (name, side)
        for name, side in ((ITEMS_IN, related.came_in), (ITEMS_OUT, related.came_out))
        if side is not None and name not in values.items
    ]
    # all at once: each record costs a look for secrets and a write
    written = log.write_items([(name, side.chosen.ids, side.chosen.hashes) for name, side in sides], hide=_MAIL)
    for (name, side), fields in zip(sides, written):
        values.set_items(name, {**fields, **_about(side), **_beyond(side)})
        item_fields.write(log, recorder, name, side.chosen.ids, side.fields, _MAIL)
    if related.others:
        values.set_items(
            "others", {side.source or "": {**_summed(side), **_about(side), **_beyond(side)} for side in related.others}
        )
    if related.links and log.may_name((text for pair in related.links for text in pair), _MAIL):
        values.set_items("links", [[parent.decode(), child.decode()] for parent, child in related.links])
    values.set_inference(related.relation, found.inference)


def _about(side: Side) -> dict[str, Any]:
    chosen = side.chosen
    about = {"inferred": True, "distinct": chosen.different.n, "key": key_in_words(chosen), "source": side.source}
    return {**{name: value for name, value in about.items() if value is not None}, **side.values}


def _beyond(side: Side) -> dict[str, Any]:
    return {"beyond": side.beyond} if side.beyond else {}


def _summed(side: Side) -> dict[str, Any]:
    ids, hashes = side.chosen.ids, side.chosen.hashes
    nulls = {"nulls": ids.nulls + ids.odd} if ids.nulls or ids.odd else {}
    return {"n": ids.size, "sum": f"{sum64(hashes):016x}", "order": None, **nulls}
