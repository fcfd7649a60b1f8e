"""A fingerprint of a function's code, so that a changed answer can be distinguished from changed code."""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from xray_core.objects.fingerprint import fingerprint
from xray_core.safety import reraise_interrupt, swallow


def code_version_of(function: Any) -> str | None:
    """A fingerprint of a function's bytecode and constants: it changes when the code does, and with the Python version."""
    try:
        code = getattr(inspect.unwrap(function), "__code__", None)
        return f"code:{_hash(code)}" if isinstance(code, CodeType) else None
    except Exception as error:  # noqa: BLE001  # a lying __wrapped__: then the version is unknown
        reraise_interrupt(error)
        return None


_MAX_KEPT: Final = 4_096
_MAX_FILE_BYTES: Final = 4_000_000
of_callers: Final[dict[int, tuple[CodeType, str | None]]] = {}
"""By the id of a code object, since the object itself hashes by its contents each time."""


def code_version_of_caller() -> str | None:
    """The version of the function that called into X-Ray, and of its file. Called by what it calls.

    "code:1f0c9a3e.77b2c0d1": what the function calls in the same file changes the second half alone. Worked out once for each
    function; a file is read once. A cell of a notebook has no second half.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("xray_core.capture"):
        frame = frame.f_back
    code = frame.f_code
    known = of_callers.get(id(code))
    if known is not None:
        return known[1]
    try:
        version = f"code:{_hash(code)[:8]}{_of_file(code.co_filename)}"
    except Exception as error:  # noqa: BLE001
        swallow("reading the version of a step's code", error)
        version = None
    if len(of_callers) >= _MAX_KEPT:
        of_callers.clear()
    of_callers[id(code)] = (code, version)
    return version


@lru_cache(maxsize=4_096)
def _of_file(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError):  # a notebook, `python -c`, a zip file
        return ""
    return "" if len(content) > _MAX_FILE_BYTES else f".{hashlib.blake2b(content, digest_size=4).hexdigest()}"


@lru_cache(maxsize=4_096)
def _hash(code: CodeType) -> str:
    digest = hashlib.blake2b(digest_size=8)
    pending = [code]
    while pending:
        each = pending.pop()
        digest.update(each.co_code)
        # not their repr: that of a set of strings changes from process to process
        constants = [constant for constant in each.co_consts if not isinstance(constant, CodeType)]
        digest.update(fingerprint([*constants, list(each.co_names)])["exact"].encode())
        pending.extend(constant for constant in each.co_consts if isinstance(constant, CodeType))
    return digest.hexdigest()
