"""The server's exceptions are one tree, drawn in the docstring of `xray_server.errors`."""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module

import xray_server
from xray_server import errors

from xray_core.errors import XRayError


def drawn() -> dict[str, str]:
    """Each class in the drawing, and the one above it."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.search(r"[├└]── (\w+)|^    xray_core\.errors\.(XRayError)$", line)
        if found is None:
            continue
        name, indent = found[1] or found[2], found.start()
        above = [each for each in above if each[0] < indent or (each[0] == indent and each[1] == "XRayError")]
        above = [each for each in above if found[2] is None]
        if above:
            parents[name] = above[-1][1]
        above.append((indent if found[2] is None else -1, name))
    return parents


def test_the_drawn_tree_is_the_tree() -> None:
    classes = {
        name: each
        for name, each in vars(errors).items()
        if inspect.isclass(each) and issubclass(each, errors.ServerError)
    }
    pictured = drawn()
    assert pictured.pop("ConfigurationError") == "XRayError"  # the core's, drawn for the reader
    assert pictured == {name: each.__bases__[0].__name__ for name, each in classes.items()}


def test_no_module_of_the_server_has_an_exception_of_its_own() -> None:
    for module in pkgutil.walk_packages(xray_server.__path__, "xray_server."):
        if module.name.endswith("__main__"):
            continue
        for name, each in vars(import_module(module.name)).items():
            if inspect.isclass(each) and issubclass(each, BaseException) and each.__module__.startswith("xray_server"):
                assert each.__module__ == "xray_server.errors", f"{module.name}.{name}"
                assert issubclass(each, XRayError)
