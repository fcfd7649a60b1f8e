"""A fingerprint of a function's code, so that a changed answer can be told from changed code."""

from __future__ import annotations

import hashlib
import inspect
from functools import lru_cache
from types import CodeType
from typing import Any

from xray_core.objects.fingerprint import fingerprint


def code_version_of(function: Any) -> str | None:
    """A fingerprint of a function's bytecode and constants: it changes when the code does, and with the Python version."""
    try:
        code = getattr(inspect.unwrap(function), "__code__", None)
        return f"code:{_hash(code)}" if isinstance(code, CodeType) else None
    except Exception:  # noqa: BLE001  # a lying __wrapped__: then the version is unknown
        return None


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
