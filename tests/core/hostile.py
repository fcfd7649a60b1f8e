"""Arguments as nobody should give them: what raises, what is huge, what is of the wrong type, what no encoding takes."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st


class Raises:
    """Every special method that a curious library might call raises."""

    def _no(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("do not touch")

    __str__ = __repr__ = __format__ = __bool__ = __len__ = __iter__ = __int__ = __float__ = __index__ = _no
    __eq__ = __lt__ = __hash__ = __getattr__ = __getitem__ = __contains__ = __call__ = __reduce__ = _no  # type: ignore[assignment]


class BadText(str):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class BadMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no value")

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "b"])

    def __len__(self) -> int:
        return 2


class BadZone(datetime.tzinfo):
    def utcoffset(self, when: Any) -> Any:
        raise RuntimeError("no offset")


class Colour(enum.Enum):
    RED = "red"
    ODD = object()


def bad_iterator() -> Iterator[Any]:
    yield "a"
    raise RuntimeError("half way")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)

TEXTS: list[Any] = [
    "", "a", " ", "x" * 600, "é" * 300, "\ud800", os.fsdecode(b"f\xff.csv"), "a\x00b", "\u202e<b>'\"\\", BadText("bad"),
    "a/b?c=d#e", "\r\n\t", "💥" * 200,
]  # fmt: skip
NUMBERS: list[Any] = [
    0, -1, 1, 2**53, -(2**60), 2 * 10**12, 10**400, 0.5, -0.0, 1e308, math.inf, -math.inf, math.nan, True,
    decimal.Decimal("9.99"), decimal.Decimal("NaN"), decimal.Decimal("1E+1000"), fractions.Fraction(1, 3),
    np.float32(0.1), np.float64("inf"), np.int64(7), np.uint64(2**64 - 1), np.bool_(True), np.nan, 1 + 2j, pd.NA, pd.NaT,
]  # fmt: skip
TIMES: list[Any] = [
    datetime.datetime(2026, 1, 1), datetime.datetime(1, 1, 1, tzinfo=datetime.timezone.utc), datetime.datetime.max,
    datetime.datetime(2000, 1, 1, tzinfo=BadZone()), datetime.date(2026, 1, 1), pd.Timestamp("2020-01-01"),
]  # fmt: skip
THINGS: list[Any] = [
    None, b"bytes", b"\xff", uuid.UUID(int=1), Colour.RED, Colour.ODD, object(), Raises(), BadMapping(), CYCLE, [], {}, (), set(),
    ["a", "a", 1, None], {"a": 1, 2: Raises(), "\ud800": "x"}, [("k", "v")], ["ids", Raises()], {"x" * 300: "y" * 9_000},
    np.array([1.0, np.nan]), pd.DataFrame({"id": [1, 2], "p": [0.1, None]}), range(3), lambda: None, type, ValueError("v"),
    [[[[[[[[[[[[1]]]]]]]]]]]], {"id": "a", "score": math.nan, "reason": Raises()},
]  # fmt: skip

ALL: list[Any] = TEXTS + NUMBERS + TIMES + THINGS


@dataclasses.dataclass(frozen=True)
class Given:
    """A hostile argument by its place: the test's own tools compare and print what they draw, which these do not bear."""

    place: int

    def __repr__(self) -> str:
        value = ALL[self.place]
        shown = type(value).__name__ if type(value) in (Raises, BadText, BadMapping) else repr(value)[:60]
        return f"<{shown}>"


@dataclasses.dataclass(frozen=True)
class Made:
    """An object of the core, or an exception, made of such arguments when it is needed."""

    kind: type
    arguments: tuple[Any, ...]


def plain(drawn: Any) -> Any:
    """What was drawn, as it is given to the call."""
    if isinstance(drawn, Given):
        return ALL[drawn.place]
    if isinstance(drawn, Made):
        return drawn.kind(*plain(drawn.arguments))
    if isinstance(drawn, list):
        return [plain(each) for each in drawn]
    if isinstance(drawn, tuple):
        return tuple(plain(each) for each in drawn)
    if isinstance(drawn, dict):
        return {name: plain(each) for name, each in drawn.items()}
    return drawn


text = st.integers(0, len(TEXTS) - 1).map(Given) | st.text(max_size=8)
number = st.integers(len(TEXTS), len(TEXTS + NUMBERS) - 1).map(Given)
anything = st.integers(0, len(ALL) - 1).map(Given)


def made(kind: type, *arguments: Any) -> st.SearchStrategy[Made]:
    return st.tuples(*arguments).map(lambda given: Made(kind, given))
