"""Steps that another process executes: which of them were captured there, and the events of those that were not.

A process that executes steps of a run that it does not drive names each in a file beside the spool, before Dagster says
that it began, and how many items it rejected, once it ended; the run's other processes read it. Where they share no disk
nothing is found, and what the step's events say is added to what its own process captured, if that did.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from xray_core.safety import log
from xray_dagster import results

_MAX_EVENTS: Final = 200
_MAX_FILE_BYTES: Final = 4 << 20
_BEGINS: Final = frozenset({"STEP_START", "STEP_RESTARTED"})
_REJECTED: Final = "rejected "
_CURE: Final = (
    "Enable X-Ray there too: start everything by `xray run -- CMD`, or call xray_dagster.enable() at the top of the module "
    "of the definitions, which every process imports"
)
_warned = False


def announce(spool_dir: Path, dagster_run_id: str, step_key: str, attempt: int) -> None:
    """In a process that does not drive the run: this attempt is captured here. Does nothing where it cannot be written."""
    _write(spool_dir, dagster_run_id, f"{attempt} {step_key}\n")


def announce_rejected(spool_dir: Path, dagster_run_id: str, step_key: str, n: int) -> None:
    """In a process that does not drive the run: a step has rejected so many items, at its latest attempt."""
    _write(spool_dir, dagster_run_id, f"{_REJECTED}{n} {step_key}\n")


def rejected_elsewhere(spool_dir: Path, dagster_run_id: str) -> dict[str, int]:
    """Step key -> how many items the step rejected, of those that other processes announced."""
    found: dict[str, int] = {}
    for line in _lines(spool_dir, dagster_run_id):
        if line.startswith(_REJECTED):
            n, _, step_key = line.removeprefix(_REJECTED).partition(" ")
            if n.isdigit():  # and no line that was cut
                found[step_key] = int(n)
    return found


def _write(spool_dir: Path, dagster_run_id: str, line: str) -> None:
    with suppress(OSError):
        spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(_path(spool_dir, dagster_run_id), flags, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


def _lines(spool_dir: Path, dagster_run_id: str) -> list[str]:
    with suppress(OSError), _path(spool_dir, dagster_run_id).open("rb") as file:
        return file.read(_MAX_FILE_BYTES).decode(errors="replace").splitlines()
    return []


def _path(spool_dir: Path, dagster_run_id: str) -> Path:
    return spool_dir / f".dagster-{''.join(each for each in dagster_run_id if each.isalnum() or each == '-')}"


class Elsewhere:
    """The steps of one run that other processes execute, as the process that drives the run hears of them.

    Args:
        replay: makes a step of one attempt's events: called with the step's key, the attempt and the events.
    """

    def __init__(self, spool_dir: Path, dagster_run_id: str, replay: Callable[[str, int, list[Any]], None]) -> None:
        self._spool_dir = spool_dir
        self._run_id = dagster_run_id
        self._replay = replay
        self._events: dict[str, list[Any]] = {}
        self._captured: set[str] = set()
        self.any = False

    @property
    def captured_any(self) -> bool:
        """Whether another process said that it captures a step of this run."""
        return bool(self._captured)

    def observe(self, kind: str, key: str, attempt: int, event: Any) -> bool:
        """One event of a step in another process; whether a step was made of its events, since it has ended now."""
        self.any = True
        if kind in _BEGINS:
            self._events[key] = [event]
            return False
        events = self._events.get(key)
        if events is None:
            return False
        if len(events) < _MAX_EVENTS or kind not in results.KINDS:
            events.append(event)
        if kind in results.KINDS:
            return False
        del self._events[key]
        if self.is_captured(key, attempt):
            return False
        self._replay(key, attempt, events)
        return True

    def is_captured(self, key: str, attempt: int) -> bool:
        """Whether the process that executes this attempt said that it captures it."""
        name = f"{attempt} {key}"
        if name not in self._captured:
            lines = _lines(self._spool_dir, self._run_id)
            self._captured.update(line for line in lines if not line.startswith(_REJECTED))
        return name in self._captured

    def end(self) -> None:
        """The run is over."""
        with suppress(OSError):
            _path(self._spool_dir, self._run_id).unlink()


def warn_not_reached(step_key: str, *, here: bool) -> None:
    """Say once that steps are executed where X-Ray captures nothing, and what to do."""
    global _warned
    if _warned:
        return
    _warned = True
    log.warning(
        "X-Ray: Dagster executed the step %r %s: of such steps only Dagster's events are known, and what they say "
        "themselves is not captured. %s. This is said once.",
        step_key,
        "in a way that X-Ray does not see" if here else "in a process in which X-Ray is not enabled",
        "Its executor runs steps by itself: enable X-Ray before it is imported" if here else _CURE,
    )


def reset() -> None:
    """Warn again. For tests."""
    global _warned
    _warned = False
