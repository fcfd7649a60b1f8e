"""A step as an adapter sees it: its arguments and its result, and what was found in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from xray_core import XRay
from xray_core.model import Ledger, ledger_of
from xray_core.testing import capture


class Seen(NamedTuple):
    """A step of one run, merged.

    Attributes:
        sets: ids of what went "in" and came "out", those that are kept by name.
        hidden: how many are kept as fingerprints only.
    """

    ledger: Ledger
    state: Mapping[str, Any]
    sets: dict[str, list[str]]
    hidden: dict[str, int]

    @property
    def relation(self) -> Any:
        return self.state["relation"]

    @property
    def counts(self) -> tuple[int | None, int | None, int | None]:
        """Went in, came out, did not come out."""
        return self.ledger.input, self.ledger.accepted, self.ledger.unaccounted


def seen(
    arguments: Mapping[str, Any], *results: Any, key: str | None = None, error: Exception | None = None, **settings: Any
) -> Seen:
    """What is found; several `results` are those of a step with several named outputs."""
    with capture() as captured:
        xray = XRay("nightly", **settings)
        with xray.run(run_id="r") as run:
            step = run.open_step("load")
            if key is not None:
                step.set_item_key(key)
            step.observe_inputs(arguments)
            for number, result in enumerate(results):
                step.observe_output(result, name=None if len(results) == 1 else str(number))
            step.close("failed" if error else "completed", error=error)
        xray.close()
    (state,) = captured._steps("load", None)
    sets: dict[str, list[str]] = {}
    hidden: dict[str, int] = {}
    for record in captured.records:
        for each in record.get("sets", ()):
            if each.get("ids") is not None:
                sets.setdefault(each["outcome"], []).extend(each["ids"])
            else:
                hidden[each["outcome"]] = hidden.get(each["outcome"], 0) + each["n"]
    return Seen(ledger_of(state), state, sets, hidden)
