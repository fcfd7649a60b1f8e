"""What an item held as it went into a step and as it came out, and what the step changed of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xray_core.journey.types import Json
from xray_core.model import ITEMS_IN, ITEMS_OUT


def held(samples: Iterable[Mapping[str, Any]]) -> tuple[Json | None, Json | None]:
    """The fields of an item before and after a step, from its samples there; None where they were not kept."""
    sides: dict[str, Json] = {}
    for sample in samples:
        if sample["outcome"] in (ITEMS_IN, ITEMS_OUT) and isinstance(sample["details"], Mapping):
            sides[sample["outcome"]] = dict(sample["details"])
    return sides.get(ITEMS_IN), sides.get(ITEMS_OUT)


def changed(before: Json | None, after: Json | None) -> dict[str, list[Any]] | None:
    """The fields that both sides have, with other values: name -> [before, after]; None where there is none."""
    if before is None or after is None:
        return None
    differ = {name: [value, after[name]] for name, value in before.items() if name in after and value != after[name]}
    return differ or None
