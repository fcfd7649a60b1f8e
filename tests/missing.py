"""What a test needs and a machine may lack: said in one way, so that CI can refuse it (tests/conftest.py)."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Final, NoReturn

import pytest

MISSING: Final = "missing: "


def missing(what: str, *, whole_module: bool = False) -> NoReturn:
    """Skip the test on a user's machine, fail it in CI. `what` is missing, and how it is installed."""
    pytest.skip(MISSING + what, allow_module_level=whole_module)


def need_modules(*names: str, whole_module: bool = False) -> None:
    """Go on only with these modules. They are looked for, not imported: some change the process that loads them."""
    for name in names:
        if find_spec(name) is None:
            missing(f"{name}: make .venv/.dev installs it", whole_module=whole_module)


def need_command(name: str) -> None:
    """Go on only with this command."""
    if shutil.which(name) is None:
        missing(f"the command {name}")
