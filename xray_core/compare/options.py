"""What a reader may choose about a comparison: how close numbers count as equal, and which paths are ignored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from xray_core.errors import ConfigurationError

DEFAULT_TOLERANCE: Final = 1e-9
MAX_IGNORED: Final = 50
_ROOTS: Final = ("input", "output", "metadata", "tags", "steps")


@dataclass(frozen=True, slots=True)
class Options:
    """How two runs are compared.

    Attributes:
        tolerance: relative difference up to which two numbers are equal, 0 to 1.
        ignore: paths as they stand in `changes`: "input.request_id" is that of the run and of every step,
            "steps.llm.input.seed" that of one step alone; "*" stands for anything but a dot.
    """

    tolerance: float = DEFAULT_TOLERANCE
    ignore: tuple[str, ...] = ()

    def ignores(self, path: str) -> bool:
        """Whether a path, or one above it, is ignored."""
        if not self.ignore:
            return False
        return any(_matches(pattern, path) for pattern in self.ignore)


DEFAULT: Final = Options()


def options(tolerance: Any = None, ignore: Iterable[str] = ()) -> Options:
    """Options from what a user wrote.

    Raises:
        ConfigurationError: the tolerance is no number from 0 to 1, or a path cannot be one.
    """
    if tolerance is None:
        number = DEFAULT_TOLERANCE
    else:
        try:
            number = float(tolerance)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number <= 1:
            raise ConfigurationError(f"the tolerance is a number from 0 to 1, as in 1e-6, not {tolerance!r}")
    paths = tuple(dict.fromkeys(each.strip() for each in ignore if each.strip()))
    for path in paths:
        if path.split(".")[0].split("[")[0] not in _ROOTS:
            raise ConfigurationError(
                f"a path to ignore begins with {', '.join(_ROOTS)}, as in input.request_id, not {path!r}"
            )
    if len(paths) > MAX_IGNORED:
        raise ConfigurationError(f"at most {MAX_IGNORED} paths can be ignored, not {len(paths)}")
    return Options(number, paths)


def _matches(pattern: str, path: str) -> bool:
    expression = _expression(pattern)
    if expression.match(path):
        return True
    # "input.x" is that of a step too
    inner = re.search(r"\.(input|output|metadata)(?=[.\[]|$)", path) if path.startswith("steps.") else None
    return inner is not None and expression.match(path[inner.start() + 1 :]) is not None


def _expression(pattern: str) -> re.Pattern[str]:
    parts = "[^.]*".join(re.escape(part) for part in pattern.split("*"))
    return re.compile(parts + r"(?=[.\[]|$)")
