"""Errors keep their message, notes, causes and the user's own frames, and none of the user's code runs."""

from __future__ import annotations

import asyncio
import builtins
import configparser
import decimal
import importlib
import json
import pathlib
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from xray_core.objects.sanitize import Sanitizer

sanitizer = Sanitizer()
GROUP: Any = getattr(builtins, "ExceptionGroup", None)


class Ran(BaseException):
    """User code was called. Not an Exception, so that nothing can swallow it."""


def described(error: BaseException) -> dict[str, Any]:
    found = sanitizer.error(error)
    assert found is not None
    return found


def raised(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:  # SystemExit and groups of BaseExceptions are among what is described
        return error
    raise AssertionError("nothing was raised")


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise Ran


_STANDARD: list[Callable[[], Any]] = [
    lambda: {}["missing"],
    lambda: [][1],
    lambda: int("x"),
    lambda: 1 / 0,
    lambda: open("/nowhere/at/all"),  # noqa: SIM115
    lambda: pathlib.Path("/nowhere/at/all").read_text(),
    lambda: b"\xff".decode(),
    lambda: "é".encode("ascii"),
    lambda: json.loads("{"),
    lambda: importlib.import_module("no_such_module_anywhere"),
    lambda: compile("a b", "<text>", "exec"),
    lambda: subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True),
    lambda: asyncio.run(asyncio.wait_for(asyncio.sleep(1), 0)),
    lambda: decimal.Decimal("x"),
    lambda: configparser.ConfigParser().get("a", "b"),
    lambda: (_ for _ in ()).throw(ValueError("a", 3)),
    lambda: (_ for _ in ()).throw(StopAsyncIteration()),
    lambda: (_ for _ in ()).throw(SystemExit(3)),
    lambda: None.missing,  # type: ignore[attr-defined]
    lambda: undefined,  # type: ignore[name-defined]  # noqa: F821
]


@pytest.mark.parametrize("index", range(len(_STANDARD)))
def test_an_exception_of_pythons_own_says_what_python_says(index: int) -> None:
    error = raised(_STANDARD[index])
    assert described(error)["message"] == str(error)


def test_a_subclass_of_the_users_that_leaves_str_alone_says_what_python_says() -> None:
    class Missing(KeyError):
        pass

    class Refused(OSError):
        @property
        def filename(self) -> Any:
            raise Ran

    assert described(Missing("k"))["message"] == "'k'"
    assert described(Refused(2, "No such file", "/x"))["message"] == "[Errno 2] No such file: '/x'"


def test_none_of_the_users_code_runs() -> None:
    loud = type("Loud", (), {"__str__": _refuse, "__repr__": _refuse, "__format__": _refuse})()
    own_str = type("OwnStr", (Exception,), {"__str__": _refuse, "__repr__": _refuse})
    own_error = type("OwnCalled", (subprocess.CalledProcessError,), {"cmd": property(_refuse)})
    own_args = type(
        "OwnArgs",
        (ValueError,),
        {"args": property(_refuse), "__cause__": property(_refuse), "__notes__": property(_refuse)},
    )
    for error in (
        own_str("broken", 3), ValueError(loud), KeyError(loud), OSError(2, "x", loud), SyntaxError("m", ("f", 1, 1, loud)), ImportError(loud),
        own_args("m"), ValueError({"a": [loud]}), subprocess.CalledProcessError(1, [loud]),
    ):  # fmt: skip
        json.dumps(described(error))
    assert described(own_str("broken", 3))["message"] == "broken, 3"
    assert "<" in described(ValueError(loud))["message"]
    json.dumps(described(own_error.__new__(own_error)))
    member = GROUP("g", [own_str("inner")]) if GROUP is not None else own_str("inner")
    assert "inner" in str(described(member))


def test_an_exception_that_was_made_without_arguments_says_what_it_holds() -> None:
    class ApiError(Exception):
        def __init__(self, *, status: int, detail: str, api_key: str) -> None:
            super().__init__()
            self.status, self.detail, self.api_key = status, detail, api_key

        def __str__(self) -> str:
            raise Ran

    message = described(ApiError(status=404, detail="no such fare", api_key="hunter2"))["message"]
    assert "404" in message
    assert "no such fare" in message
    assert "hunter2" not in message
    assert described(ValueError({"fare": "Y", "token": "hunter2"}))["message"] == '{"fare":"Y","token":"[redacted]"}'


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_notes_follow_the_message() -> None:
    error = ValueError("no fare")
    error.add_note("while pricing UA1545")
    error.add_note("second")
    assert described(error)["message"] == "no fare\nwhile pricing UA1545\nsecond"


def test_causes_are_told_before_what_they_caused() -> None:
    def read() -> None:
        raise KeyError("fare")

    def price() -> None:
        try:
            read()
        except KeyError as error:
            raise ValueError("cannot price") from error

    def ask() -> None:
        try:
            price()
        except ValueError:
            raise RuntimeError("cannot answer")  # noqa: B904  # the context is what is tested

    text = described(raised(ask))["traceback"]
    order = [
        "in read",
        "KeyError: 'fare'",
        "direct cause",
        "in price",
        "ValueError: cannot price",
        "During handling",
        "in ask",
    ]
    places = [text.rindex(each) for each in order]
    assert places == sorted(places)
    suppressed = raised(lambda: _from_none(price))
    assert "KeyError" not in described(suppressed)["traceback"]


def _from_none(function: Callable[[], Any]) -> None:
    try:
        function()
    except ValueError:
        raise RuntimeError("alone") from None


def test_a_chain_that_bites_its_tail_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert "two" in described(one)["traceback"]
    last = ValueError("0")
    for n in range(1, 500):
        outer = ValueError(str(n))
        outer.__cause__ = last
        last = outer
    assert len(described(last)["traceback"]) < 9_000


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with Python 3.11")
def test_the_members_of_a_group_are_told() -> None:
    group = GROUP("two fares failed", [raised(lambda: {}["LAX"]), raised(lambda: int("x"))])
    told = described(group)
    assert told["message"] == "two fares failed (2 sub-exceptions)"
    assert "KeyError: 'LAX'" in told["traceback"]
    assert "ValueError: invalid literal" in told["traceback"]


def test_pydantic_says_which_field_and_why_but_not_the_value() -> None:
    class Fare(pydantic.BaseModel):
        price: int
        carrier: str

    message = described(raised(lambda: Fare(price="hunter2")))["message"]  # type: ignore[call-arg, arg-type]
    assert message.startswith("2 validation errors for Fare: price: Input should be a valid integer")
    assert "carrier: Field required" in message
    assert "hunter2" not in message


def test_pydantic_1_says_which_field_and_why() -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("pydantic 1 does not run on Python 3.14")
    from pydantic import v1

    class Fare(v1.BaseModel):
        price: int

    message = described(raised(lambda: Fare(price="hunter2")))["message"]
    assert message.startswith("price: ")
    assert "hunter2" not in message


def test_a_traceback_begins_and_ends_with_what_readers_look_for() -> None:
    """The framework's calls above the user's are left out; of a long stack the user's last call is kept."""

    def user(depth: int) -> Any:
        return json.loads("{") if depth == 0 else user(depth - 1)

    def framework() -> Any:
        return user(0)

    framework_code = compile(
        "def call(function):\n    return function()\n", "/usr/lib/x/site-packages/framework/engine.py", "exec"
    )
    space: dict[str, Any] = {"__name__": "framework.engine"}
    exec(framework_code, space)
    told = described(raised(lambda: space["call"](framework)))["traceback"]
    lines = [line for line in told.splitlines() if line.startswith("  File")]
    assert "test_exceptions.py" in lines[0]
    assert "decoder.py" in lines[-1]

    deep = described(raised(lambda: user(100)))["traceback"]
    assert "calls between" in deep
    assert "in user" in deep
    assert deep.count("  File") <= 21
    only = raised(lambda: space["call"](lambda: json.loads("{")))
    only.__traceback__ = only.__traceback__.tb_next.tb_next.tb_next.tb_next  # type: ignore[union-attr]
    assert described(only)["traceback"]  # no frame of the user's at all: all that there are


def test_a_traceback_reads_as_pythons_own() -> None:
    error = raised(lambda: int("x"))
    lines = [line.strip() for line in traceback.format_tb(error.__traceback__)[-1].splitlines()]
    assert described(error)["traceback"].splitlines()[-2].strip() == lines[0]
    assert described(error)["traceback"].splitlines()[-1].strip() == lines[1]


def test_row_40_source_lines_in_a_traceback_are_masked(tmp_path: pathlib.Path) -> None:
    from tests.core.capturing import Captured

    source = tmp_path / "pipeline.py"
    source.write_text(
        'def connect():\n    return int("x", base=len("password=hunter2")) or login(password="hunter2")\n'
    )
    space: dict[str, Any] = {}
    exec(compile(source.read_text(), str(source), "exec"), space)
    captured = Captured()
    with pytest.raises(ValueError), captured.run():
        space["connect"]()
    assert "hunter2" not in json.dumps(captured.sink.records)
    assert "in connect" in captured.of_kind("run")[-1]["error"]["traceback"]
