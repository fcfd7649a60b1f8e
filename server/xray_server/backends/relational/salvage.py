"""Writing all records of a group but those that the store cannot hold: one bad record must not take its group with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xray_core.safety import swallow
from xray_server.store import Batch, StoreUnavailableError


def write_by_bisection(
    batches: Sequence[Batch],
    write: Callable[[Sequence[Batch]], None],
    *,
    unavailable: Callable[[Exception], bool],
    limits: tuple[type[Exception], ...],
) -> list[dict[int, str]]:
    """Write with `write` (one transaction a call); when it fails, halve until the records to blame are alone.

    Args:
        unavailable: whether an error says that nothing can be written just now.
        limits: errors by which the database says that it cannot hold a record; any other is a mistake of ours, and raised.

    Returns:
        for each batch, the records refused: position -> why.

    Raises:
        StoreUnavailableError: what was not yet written may be tried again, with all the rest.
    """
    refused: list[dict[int, str]] = [{} for _ in batches]
    waiting = [[(b, r) for b, batch in enumerate(batches) for r in range(len(batch.records))]]
    while waiting:
        places = waiting.pop()
        chosen: dict[int, list[int]] = {}
        for b, r in places:
            chosen.setdefault(b, []).append(r)
        try:
            write([
                Batch([batches[b].records[r] for r in rows], batches[b].project, batches[b].received_us)
                for b, rows in chosen.items()
            ])  # fmt: skip
        except Exception as error:  # whatever one record does, the others of its group must be kept
            if isinstance(error, StoreUnavailableError):
                raise
            if unavailable(error):
                raise StoreUnavailableError(f"the database cannot write just now: {error}") from error
            if len(places) > 1:
                middle = len(places) // 2
                waiting += [places[middle:], places[:middle]]
            elif places:
                b, r = places[0]
                if not isinstance(error, limits):
                    swallow("store write", error)
                refused[b][r] = f"the store cannot hold this record: {error}"
    return refused
