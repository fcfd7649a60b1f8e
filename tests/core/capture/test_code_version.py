"""A fingerprint of a function's code: it changes when the code does, and with nothing else."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from xray_core.capture.code_version import code_version_of

SOURCE = "def f(row):\n    return [each for each in row if each in {'a', 'b', 'c', 'd'} and len(each) < LIMIT]\n"


def made(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def test_the_same_code_has_one_version_and_another_has_another() -> None:
    version = code_version_of(made(SOURCE))
    assert version == code_version_of(made(SOURCE))
    for changed in (SOURCE.replace("<", "<="), SOURCE.replace("'d'", "'e'"), SOURCE.replace("LIMIT", "OTHER")):
        assert code_version_of(made(changed)) != version


def test_a_comment_or_another_line_number_is_no_change() -> None:
    assert code_version_of(made(SOURCE)) == code_version_of(made("\n\n# why\n" + SOURCE))


def test_code_inside_the_function_counts() -> None:
    def source(inner: str) -> str:
        return f"def f(x):\n    def g(y):\n        return y {inner} 1\n    return g(x)\n"

    assert code_version_of(made(source("+"))) != code_version_of(made(source("-")))


def test_every_process_says_the_same_though_sets_of_strings_have_another_order_in_each() -> None:
    code = f"from xray_core.capture.code_version import code_version_of\nexec({SOURCE!r})\nprint(code_version_of(f))"
    shown = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert shown == {f"{code_version_of(made(SOURCE))}\n"}


def test_a_decorated_function_has_the_version_of_the_one_inside() -> None:
    function = made(SOURCE)

    @functools.wraps(function)
    def around(*args: Any) -> Any:
        return function(*args)

    assert code_version_of(around) == code_version_of(function)


def test_what_has_no_code_has_no_version() -> None:
    class Lying:
        @property
        def __wrapped__(self) -> Any:
            raise RuntimeError("no")

    assert [code_version_of(each) for each in (len, 3, Lying(), functools.partial(len))] == [None] * 4
