"""Which runs still wait in the spool of this machine: an answer of the server is without them. Reads only; deletes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from xray_core.spool import frames
from xray_core.spool.destination import directory_for
from xray_core.spool.segment import stream_in

if TYPE_CHECKING:
    from xray_core.settings import Settings

_MAX_BYTES: Final = 16 << 20  # of counts: some ten thousand steps; an answer must not wait for more to be read
_RUNS_AND_STEPS: Final = "counts"


class WaitingRun(NamedTuple):
    """A run of which records wait, for the server of the present settings."""

    run_id: str
    pipeline: str | None


def waiting_runs(settings: Settings) -> list[WaitingRun]:
    """Runs that the server does not have, or not whole. Reads up to 16 MB; never raises for what it finds."""
    found: dict[str, WaitingRun] = {}
    for payload in _payloads(settings):
        try:
            record = json.loads(payload)
            run_id, pipeline = str(record["run_id"]), record.get("pipeline")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # of a client, or some other version's
        if run_id not in found or found[run_id].pipeline is None:
            found[run_id] = WaitingRun(run_id, pipeline if isinstance(pipeline, str) else None)
    return list(found.values())


def _payloads(settings: Settings) -> Iterator[bytes]:
    directory = directory_for(settings.spool_dir, settings.api_url)
    left = _MAX_BYTES
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if stream_in(name) != _RUNS_AND_STEPS or left <= 0:
            continue
        try:
            data = (directory / name).read_bytes()
        except OSError:
            continue  # delivered and deleted while we looked
        rest = data[frames.read_cursor(data[: frames.HEADER_BYTES], size=len(data)) :][:left]
        left -= len(rest)
        yield from (payload for _, payload in frames.scan(rest) if payload is not None)
