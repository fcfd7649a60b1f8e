"""What is switched on in this process: the seams that are wrapped, and whether outputs get X-Ray's ledger.

Written by instrument.py, read by the rest. Knows nothing of Dagster.
"""

from __future__ import annotations

import os
from typing import Final

LEDGER_VARIABLE: Final = "XRAY_DAGSTER_LEDGER"

_seams: set[str] = set()
_ledger_wanted = False


def mark_installed(seam: str) -> None:
    """A seam is wrapped in this process. `seam` is a name in `instrument.SEAMS`."""
    _seams.add(seam)


def is_installed(seam: str) -> bool:
    """Whether this seam captures in this process."""
    return seam in _seams


def want_ledger() -> None:
    """Have X-Ray's ledger put into the metadata of outputs from here on."""
    global _ledger_wanted
    _ledger_wanted = True


def attaches_ledger() -> bool:
    """Whether outputs get X-Ray's ledger into their metadata: asked for in code, or by `XRAY_DAGSTER_LEDGER`."""
    return _ledger_wanted or os.environ.get(LEDGER_VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def reset() -> None:
    """Nothing is wrapped any more, and no ledger is wanted. For tests."""
    global _ledger_wanted
    _seams.clear()
    _ledger_wanted = False
