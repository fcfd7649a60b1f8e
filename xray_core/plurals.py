"""A number with its noun, as every sentence of ours writes it: "1 record", "2,000 records"."""

from __future__ import annotations


def plural(n: int, one: str, many: str | None = None) -> str:
    """As in "1 step", "2 steps"; with a verb, `plural(n, "record waits", "records wait")`.

    Args:
        n: how many.
        one: the words that follow 1.
        many: those that follow every other number; without them `one` with an s.
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
