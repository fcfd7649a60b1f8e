"""Putting a wrapper in the place of something of Prefect's, and calling the adapter so that nothing of its own reaches Prefect.

Prefect's own exceptions, results and order of events pass through untouched, BaseException ones included. Every call into
the adapter is guarded, each at a site of its own: a broken one is one warning and not one per task, and hides no other. What is captured is
in adapter.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, Final

from xray_core.errors import ConfigurationError
from xray_core.plugins.instrument import Instrument
from xray_core.safety import swallow

SITE: Final = "the Prefect adapter"
MARK: Final = "__xray_wrapped__"


def safely(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What the call returns; None where it raises, which is told once a site."""
    try:
        return call(*arguments, **named)
    except ConfigurationError as error:  # at every site the same one: it is told once
        swallow(f"{SITE}, its settings", error)
    except Exception as error:  # noqa: BLE001
        swallow(f"{SITE}, {getattr(call, '__qualname__', 'a call')}", error)
    return None


def replace(owner: Any, name: str, make: Callable[[Any], Any], instrument: Instrument) -> None:
    """Put `make(original)` in the place of `owner.name`; once, and only if it is there."""
    seam = f"{owner.__name__}.{name}"
    original = owner.__dict__.get(name)
    if original is None or not callable(original):
        instrument.missing(seam)
        return
    if not hasattr(original, MARK):
        replacement = wraps(original)(make(original))
        setattr(replacement, MARK, True)
        setattr(owner, name, replacement)
    instrument.found(seam)


def find_class(module: ModuleType, name: str, instrument: Instrument) -> Any:
    """The module's class of this name; None, and a line in `xray doctor`, where the version has none."""
    found = getattr(module, name, None)
    if found is None:
        instrument.missing(f"{module.__name__}.{name}")
    return found
