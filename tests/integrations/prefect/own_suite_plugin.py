"""For Prefect's own tests, see test_own_suite.py: their server has three minutes to start, instead of twenty seconds."""

from __future__ import annotations

from typing import Any

import anyio
from prefect.testing import fixtures

_TIMES = 9


class _Patient:
    """anyio, with longer deadlines."""

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)

    def move_on_after(self, delay: float, **options: Any) -> Any:
        return anyio.move_on_after(delay * _TIMES, **options)


setattr(fixtures, "anyio", _Patient())  # noqa: B010  # a module declares no such thing
