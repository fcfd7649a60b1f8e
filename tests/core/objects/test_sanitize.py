"""Any object becomes bounded, redacted JSON, and no line of the user's code runs (faults row 24 and 25)."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import numpy
import pandas
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.objects import made_up_secrets
from xray_core.objects.redaction import REDACTED, Redactor
from xray_core.objects.sanitize import Sanitizer

clean = Sanitizer().clean
TOKEN = made_up_secrets.secret(0)


class Ran(BaseException):
    """User code was called. Not an Exception, so that nothing can swallow it."""


def _hostile() -> list[Any]:
    """Objects that raise on every way that Python offers to look at them. Made here, where pytest does not look."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise Ran

    refusals = ("repr", "str", "hash", "len", "iter", "bool", "eq", "format", "getattribute", "getitem", "contains")
    methods = {f"__{name}__": refuse for name in refusals}
    every_way = type("Hostile", (), {**methods, "shape": property(refuse), "__dict__": property(refuse)})
    in_dict = type("HostileDict", (dict,), {**methods, "items": refuse, "keys": refuse})
    in_list = type("HostileList", (list,), methods)
    in_text = type("HostileText", (str,), {"__str__": refuse, "__len__": refuse, "encode": refuse})
    in_float = type("HostileFloat", (float,), {"__float__": refuse, "__repr__": refuse})
    return [every_way(), [every_way()], {"a": every_way()}, in_dict(a=1), in_list([1]), in_text("x"), in_float(1.5)]


@pytest.mark.parametrize("index", range(7))
def test_row_24_no_user_code_is_called(index: int) -> None:
    json.dumps(clean(_hostile()[index]), allow_nan=False)


class HostileError(Exception):
    def __str__(self) -> str:
        raise Ran


def test_row_24_hostile_exceptions_are_described_without_calling_them() -> None:
    assert Sanitizer().error(HostileError("broken", 3))["message"] == "broken, 3"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.integers(), children) | st.tuples(children),
    max_leaves=60,
)


@given(json_like)
def test_row_24_the_result_is_strict_json_and_bounded(value: Any) -> None:
    text = json.dumps(clean(value), allow_nan=False)
    text.encode()
    assert len(text) < 200_000


def test_row_24_cuts_are_marked() -> None:
    cleaned = clean({"list": list(range(500)), "text": "x" * 50_000, "deep": _nested(30)})
    assert cleaned["list"][-1] == {"$more": 400}
    assert cleaned["text"].endswith("…[+45904]")
    assert "$depth" in json.dumps(cleaned["deep"])
    assert clean(list(range(10**6)))[-1] == {"$more": 10**6 - 100}
    wide = clean({str(i): "y" * 300 for i in range(100)})
    assert wide["$more"] > 0
    assert len(json.dumps(wide)) < 32_768


def test_row_24_cycles_numbers_and_odd_values() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    assert clean(cycle) == [1, "[cycle]"]
    assert clean([math.nan, math.inf, -math.inf]) == [{"$float": "nan"}, {"$float": "inf"}, {"$float": "-inf"}]
    assert clean(2**60) == str(2**60)
    assert clean("\ud800") == "\\ud800"
    assert clean(b"12345") == {"$type": "bytes", "size": 5}


def test_row_24_well_known_types_are_read() -> None:
    @dataclasses.dataclass
    class Flight:
        dest: str
        _hidden: int = 1

    @dataclasses.dataclass(slots=True)
    class Slotted:
        dest: str

    class Model(pydantic.BaseModel):
        dest: str

    class Colour(enum.Enum):
        RED = "red"

    Point = namedtuple("Point", "x y")
    moment = datetime.datetime(2013, 6, 14, 7, 30, tzinfo=datetime.timezone.utc)
    assert clean(Flight("LAX"))["dest"] == "LAX"
    assert "_hidden" not in clean(Flight("LAX"))
    assert clean(Slotted("BUR"))["dest"] == "BUR"
    assert clean(Model(dest="SNA"))["dest"] == "SNA"
    assert clean(Colour.RED) == "red"
    assert clean(Point(1, 2)) | {"$type": ""} == {"x": 1, "y": 2, "$type": ""}
    assert clean(moment) == "2013-06-14T07:30:00+00:00"
    assert clean(decimal.Decimal("1.50")) == "1.50"
    assert clean(pathlib.PurePosixPath("/a/b")) == "/a/b"
    assert clean(uuid.UUID(int=5)) == str(uuid.UUID(int=5))
    assert clean(OrderedDict(a=1)) == clean(defaultdict(int, a=1)) == clean(Counter("a")) == {"a": 1}
    assert clean(deque([1, 2])) == [1, 2]
    assert clean(numpy.float64(0.5)) == 0.5
    assert clean(numpy.int32(3)) == 3
    assert clean(numpy.zeros((3, 4)))["shape"] == [3, 4]
    assert clean(pandas.DataFrame({"a": [1, 2]}))["shape"] == [2, 1]
    assert clean(pandas.Timestamp("2013-06-14")) == "2013-06-14T00:00:00"


def test_row_25_secrets_are_redacted_by_key() -> None:
    secret = {
        "password": "hunter2", "db_password": "x", "apiKey": "k", "X-Auth-Token": "t", "Authorization": "Bearer abc",
        "cookies": {"sid": 1}, "nested": [{"client_secret": "s"}], "AWS_SECRET_ACCESS_KEY": "z",
    }  # fmt: skip
    text = json.dumps(clean(secret))
    for leaked in ("hunter2", '"k"', '"t"', "abc", "sid", '"s"', '"z"', '"x"'):
        assert leaked not in text
    assert clean({"max_tokens": 512, "tokens": 3, "author": "Ann", "monkey": "m", "keyboard": "k"}) == {
        "max_tokens": 512, "tokens": 3, "author": "Ann", "monkey": "m", "keyboard": "k",
    }  # fmt: skip


_KEYS = st.sampled_from(["b", "kind", "state", "ids", "url", "node", "é", "pwd", "k" * 50])
_TEXTS = st.sampled_from(["op", "", "é", "\ud800", "x" * 600, "y" * 5_000, "pwd", "password=s3cr3tpw"])
_ATOMS = st.one_of(_TEXTS, st.sampled_from([None, True, 0, -7, 1 << 53, 1 << 60, 1.5]), st.lists(_TEXTS, max_size=2))
_SMALL = st.dictionaries(_KEYS, _ATOMS | st.dictionaries(_KEYS, _ATOMS, max_size=3), max_size=3)


@settings(max_examples=1_000)
@given(_SMALL, st.sampled_from([200, 16_384]))
def test_row_25_what_is_plain_enough_for_the_short_way_comes_out_as_by_the_long_one(
    value: dict[str, Any], max_bytes: int
) -> None:
    sanitizer = Sanitizer(["^url$"], max_bytes=max_bytes)
    walked = sanitizer.clean([value])  # a list is always walked
    assert sanitizer.clean(value) == sanitizer.clean(OrderedDict(value))
    if max_bytes > 1_000:
        assert [sanitizer.clean(value)] == walked


def test_row_25_user_patterns_are_redacted_too() -> None:
    assert Sanitizer(["^iban$"]).clean({"IBAN": "DE1", "x": 1}) == {"IBAN": REDACTED, "x": 1}


def _nested(depth: int) -> Any:
    return {"d": _nested(depth - 1)} if depth else 1


@pytest.mark.parametrize("place", range(150, 201, 5))
def test_row_25_a_long_name_is_not_cut_in_the_middle_of_a_secret(place: int) -> None:
    name = Sanitizer().name("x" * place + " " + TOKEN + " " + "y" * 50)
    assert len(name) <= 200
    assert TOKEN[:8] not in name


@pytest.mark.parametrize("place", range(8_100, 8_250, 10))
def test_row_25_a_long_traceback_does_not_begin_in_the_middle_of_a_secret(place: int) -> None:
    class Group(Exception):
        """As the backport of exception groups, whose members' messages stand in the traceback."""

    Group.__name__, Group.__module__ = "BaseExceptionGroup", "exceptiongroup"
    error = Group("several")
    error._exceptions = (ValueError("x" * 9_000 + " " + TOKEN + " " + "y" * place),)  # type: ignore[attr-defined]  # see above
    seen = Sanitizer().error(error)
    assert seen is not None
    assert len(seen["traceback"]) <= 8_192
    assert len(seen["traceback"]) > 8_000
    assert TOKEN[-8:] not in Redactor().text(seen["traceback"])
