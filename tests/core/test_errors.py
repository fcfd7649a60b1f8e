from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import xray_core
from xray_core import errors

NEVER_LEAVES_THE_CORE = {"EndedError", "NotPlainError", "OverBudgetError", "_TooLargeError", "_UnknownError"}


def drawn() -> dict[str, str]:
    """Each error of the tree in the module's docstring, and the one that it hangs on."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        text = line.lstrip(" │├└─")
        if not line.startswith("    ") or not text:
            continue
        depth, name = len(line) - len(text), text.split()[0]
        while above and above[-1][0] >= depth:
            above.pop()
        parents[name] = above[-1][1] if above else "Exception"
        above.append((depth, name))
    return parents


def test_the_drawn_tree_is_the_one_that_is_raised() -> None:
    real = {
        name: each.__bases__[0].__name__
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, Exception)
    }
    assert drawn() == real


def test_an_error_that_the_core_raises_on_purpose_is_in_the_tree_or_a_built_in_one() -> None:
    """No module defines an error of its own beside the tree: one hangs on a built-in that says what a caller broke."""
    package = Path(xray_core.__file__).parent
    for found in pkgutil.walk_packages([str(package)], "xray_core."):
        source = package.joinpath(*found.name.split(".")[1:])
        path = source / "__init__.py" if found.ispkg else source.with_suffix(".py")
        defined = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
        for name in defined:
            if not name.endswith("Error") or name in NEVER_LEAVES_THE_CORE or found.name == "xray_core.errors":
                continue
            each = getattr(importlib.import_module(found.name), name)
            assert issubclass(each, (errors.XRayError, TypeError, ValueError)), f"{found.name}.{name}"


def test_what_an_error_knows_beside_its_message() -> None:
    assert errors.TransportError("silent", timed_out=True).timed_out
    assert not errors.TransportError().timed_out
    assert errors.ApiError("refused").status is None
    missing = errors.NotFoundError("no run", status=404)
    assert (str(missing), missing.status) == ("no run", 404)
