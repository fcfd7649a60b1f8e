"""Attempts of one task: engines run a task again when a worker dies, twice at a time when one is slow, and once more when
its result is lost. Of what its attempts say of a step, one attempt's counts.

A part of an attempt bears its name: "task:" + a hash of the task, the generation and number of the attempt, and what makes
the part unique. Which attempt counts follows from the parts alone, whatever the order in which they came:

- one that ended well before any that did not; of those that did not, the one that counted most items;
- of several that ended well, those of the last generation, where the engine says which run of a task took the place of
  which; of these the one that ended first, but one that began after that had ended took its place.

Knows nothing of storage, nor of any engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import xxhash

PREFIX: Final = "task:"
ENDED_WELL: Final = "completed"
_END: Final = "~"

Part = Mapping[str, Any]
_Attempt = tuple[int, int]


class TaskAttempt(NamedTuple):
    """One attempt of a task of a distributed engine.

    Attributes:
        task: names the work, the same in every attempt and another for any other work of the step.
        generation: greater where the engine itself has replaced an attempt by another; 0 where it does not say.
        attempt: tells the attempts of one generation apart.
    """

    task: str
    generation: int = 0
    attempt: int = 0

    def part(self, unique: str) -> str:
        """The name of one of its parts; `unique` tells it from the attempt's other parts."""
        digest = xxhash.xxh3_64_hexdigest(self.task.encode("utf-8", "backslashreplace"))
        return _END.join((PREFIX + digest, str(self.generation), str(self.attempt), unique))


def counting(parts: Iterable[Part]) -> list[Part]:
    """The parts that count: all but those of attempts whose place another attempt of the same task took."""
    several = list(parts)
    tasks: dict[str, dict[_Attempt, list[Part]]] = {}
    for part in several:
        named = _read(part.get("part"))
        if named is not None:
            tasks.setdefault(named[0], {}).setdefault(named[1], []).append(part)
    lost = {
        id(part)
        for attempts in tasks.values()
        if len(attempts) > 1
        for attempt in attempts.keys() - {_counting(attempts)}
        for part in attempts[attempt]
    }
    return [part for part in several if id(part) not in lost] if lost else several


def may_count(part: str, counted: Collection[str]) -> bool:
    """Whether what hangs on a part counts: verdicts and samples of an attempt that counts, and of any part that is no attempt's.

    Args:
        counted: the names of the parts of the step that count.
    """
    return part in counted or not is_of_task(part)


def is_of_task(part: object) -> bool:
    """Whether a part is of an attempt of a task."""
    return _read(part) is not None


def _read(part: object) -> tuple[str, _Attempt] | None:
    if type(part) is not str or not part.startswith(PREFIX):
        return None
    task, *numbers = part.split(_END, 3)
    if len(numbers) != 3 or not (numbers[0].isdecimal() and numbers[1].isdecimal()):
        return None
    return task, (int(numbers[0]), int(numbers[1]))


def _counting(attempts: Mapping[_Attempt, Sequence[Part]]) -> _Attempt:
    ended = [key for key, parts in attempts.items() if all(part.get("task") == ENDED_WELL for part in parts)]
    if not ended:
        return max(attempts, key=lambda key: (_items(attempts[key]), key))
    last = max(generation for generation, _ in ended)
    in_order = sorted((_ended_us(attempts[key]), key) for key in ended if key[0] == last)
    ended_us, best = in_order[0]
    for later_us, key in in_order[1:]:
        if _started_us(attempts[key]) >= ended_us:
            ended_us, best = later_us, key
    return best


def _items(parts: Sequence[Part]) -> int:
    return sum(n for part in parts for n in (part.get("counts") or {}).values())


def _started_us(parts: Sequence[Part]) -> int:
    return min(part.get("started_us") or 0 for part in parts)


def _ended_us(parts: Sequence[Part]) -> int:
    return max(part.get("rev") or 0 for part in parts)  # an attempt's last word is that it ended
