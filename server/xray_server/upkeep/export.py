"""Moving: all that a store keeps into a file of NDJSON, and such a file into a store. A backup, and the way between stores.

The lines are wire records, so a file may also be sent to `POST /ingest`; before those of each run stands a line that says whose
they are and when they came, and the last line says that the file is whole. Both ways may be stopped and begun again: progress
is kept beside the file, and what is imported twice merges. Owns the file format; knows no SQL and no HTTP.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import msgspec

from xray_server.errors import TransferError
from xray_server.ingest.ndjson import decode
from xray_server.store import Batch, DumpedRun, Page, Store

RUN_LINE: Final = "export-run"
END_LINE: Final = "export-end"
_RUNS_A_PAGE: Final = 100
_GROUP_RECORDS: Final = 5_000
_GROUP_BYTES: Final = 32 * 1024 * 1024
OnProgress = Callable[[int, int], None]  # runs, records so far


class Dumpable(Protocol):
    """What an export asks of a store."""

    def dump(self, *, cursor: str | None, limit: int) -> Page[DumpedRun]:
        """As `Store.dump`."""


@dataclass(slots=True)
class TransferResult:
    """How much was moved, over all sittings; `refused` of the records were not taken, the first for `first_refusal`."""

    runs: int = 0
    records: int = 0
    refused: int = 0
    first_refusal: str | None = None
    whole: bool = True


def export_to(store: Dumpable, path: Path, *, on_progress: OnProgress = lambda runs, records: None) -> TransferResult:
    """Write all runs to `path`, gzip'd where it ends in .gz. An export that was stopped is gone on with.

    The file appears under its name when it is whole; until then it is `<path>.part`, and `<path>.part.json` says how far it is.
    """
    part, state_path = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    if path.exists():
        raise TransferError(f"{path} is there already; name another file, or remove it")
    state: dict[str, Any] = {"bytes": 0, "cursor": None, "runs": 0, "records": 0}
    if part.exists() and state_path.exists():
        state = json.loads(state_path.read_text())
    pack: Callable[[bytes], bytes] = gzip.compress if path.suffix == ".gz" else bytes
    os.close(os.open(part, os.O_RDWR | os.O_CREAT, 0o600))  # it holds all that is known: for its owner alone
    with part.open("r+b") as file:
        file.truncate(state["bytes"])
        file.seek(state["bytes"])
        while True:
            page = store.dump(cursor=state["cursor"], limit=_RUNS_A_PAGE)
            lines = [line for run in page.items for line in _lines(run)]
            if page.next_cursor is None:
                end = {"runs": state["runs"] + len(page.items), "records": state["records"] + _records(page.items)}
                lines.append(msgspec.json.encode({"kind": END_LINE, "v": 1, **end}) + b"\n")
            file.write(pack(b"".join(lines)))
            file.flush()
            os.fsync(file.fileno())
            state["runs"] += len(page.items)
            state["records"] += _records(page.items)
            on_progress(state["runs"], state["records"])
            if page.next_cursor is None:
                break
            state["bytes"], state["cursor"] = file.tell(), page.next_cursor
            _keep(state_path, state)
    part.replace(path)
    with suppress(FileNotFoundError):
        state_path.unlink()
    return TransferResult(state["runs"], state["records"])


def export_stream(
    store: Dumpable, out: IO[bytes], *, on_progress: OnProgress = lambda runs, records: None
) -> TransferResult:
    """Write all runs to a stream, as for a pipe into `xray import -`. From the beginning, always."""
    transfer, cursor = TransferResult(), None
    while True:
        page = store.dump(cursor=cursor, limit=_RUNS_A_PAGE)
        for run in page.items:
            out.writelines(_lines(run))
        transfer.runs += len(page.items)
        transfer.records += _records(page.items)
        on_progress(transfer.runs, transfer.records)
        cursor = page.next_cursor
        if cursor is None:
            out.write(
                msgspec.json.encode({"kind": END_LINE, "v": 1, "runs": transfer.runs, "records": transfer.records})
                + b"\n"
            )
            out.flush()
            return transfer


def import_from(
    store: Store, source: Path | IO[bytes], *, target: str, on_progress: OnProgress = lambda runs, records: None
) -> TransferResult:
    """Write all records of an export into a store. Of a file, goes on where it was stopped (kept in `<file>.import-*.json`).

    Args:
        target: names the store, so that one file may be imported into several.
    """
    transfer, done = TransferResult(whole=False), 0
    state_path: Path | None = None
    if isinstance(source, Path):
        digest = hashlib.sha256(target.encode()).hexdigest()[:12]
        state_path = source.with_name(f"{source.name}.import-{digest}.json")
        if state_path.exists():
            state = json.loads(state_path.read_text())
            transfer = TransferResult(
                state["runs"], state["records"], state["refused"], state["first_refusal"], whole=False
            )
            done = state["lines"]
    try:
        with _opened(source) as lines:
            for group in _groups(lines, done):
                if group.end:
                    transfer.whole = True
                    break
                _write(store, group, transfer)
                on_progress(transfer.runs, transfer.records)
                if state_path is not None:
                    _keep(state_path, {
                        "lines": group.next_line, "runs": transfer.runs, "records": transfer.records,
                        "refused": transfer.refused, "first_refusal": transfer.first_refusal,
                    })  # fmt: skip
    except (OSError, EOFError) as error:
        raise TransferError(f"cannot read {source}: {error}") from error
    if transfer.whole and state_path is not None:
        with suppress(FileNotFoundError):
            state_path.unlink()
    return transfer


@dataclass(slots=True)
class _Group:
    """Runs to be written together: (project, received_us, lines) each."""

    runs: list[tuple[str, int, list[bytes]]]
    first_line: int
    next_line: int
    end: bool = False


def _groups(lines: Iterator[bytes], skip: int) -> Iterator[_Group]:
    group = _Group([], skip, skip)
    records = size = 0
    for number, line in enumerate(lines):
        if number < skip or not line.strip():
            continue
        marker = _marker(line)
        if (
            marker is not None
            and records
            and (records >= _GROUP_RECORDS or size >= _GROUP_BYTES or marker["kind"] == END_LINE)
        ):
            group.next_line = number
            yield group
            group, records, size = _Group([], number, number), 0, 0
        if marker is None:
            if not group.runs:
                raise TransferError(f"line {number + 1} is no line of an export; records alone go to POST /ingest")
            group.runs[-1][2].append(line)
            records += 1
            size += len(line)
        elif marker["kind"] == END_LINE:
            yield _Group([], number, number + 1, end=True)
            return
        else:
            group.runs.append((marker["project"], marker["received_us"], []))
    if records:
        yield group  # the file is cut off: what there is, is imported, and the next sitting begins with it


def _marker(line: bytes) -> dict[str, Any] | None:
    """A line of the export's own; None of a record, whose run may be called `export-...` too."""
    if b'"export-' not in line[:40]:
        return None
    found: dict[str, Any] = msgspec.json.decode(line)
    return found if found.get("kind") in (RUN_LINE, END_LINE) else None


def _write(store: Store, group: _Group, transfer: TransferResult) -> None:
    batches = []
    for project, received_us, lines in group.runs:
        decoded = decode(b"".join(lines))
        batches.append(Batch(decoded.records, project, received_us))
        for line, why in decoded.refused:
            _refuse(transfer, f"near line {group.first_line + line + 1}: {why}")
    for refused in store.write(batches):
        for why in refused.values():
            _refuse(transfer, why)
    transfer.runs += len(group.runs)
    transfer.records += sum(len(batch.records) for batch in batches)


def _refuse(transfer: TransferResult, why: str) -> None:
    transfer.refused += 1
    transfer.first_refusal = transfer.first_refusal or why


def _lines(run: DumpedRun) -> Iterator[bytes]:
    about = {"kind": RUN_LINE, "v": 1, "project": run.project, "run_id": run.run_id, "received_us": run.received_us}
    yield msgspec.json.encode(about) + b"\n"
    for record in run.records:
        yield msgspec.json.encode(record) + b"\n"


def _records(runs: list[DumpedRun]) -> int:
    return sum(len(run.records) for run in runs)


def _opened(source: Path | IO[bytes]) -> IO[bytes]:
    if not isinstance(source, Path):
        return source
    return gzip.open(source) if source.suffix == ".gz" else source.open("rb")  # type: ignore[return-value]  # both read bytes


def _keep(path: Path, state: dict[str, Any]) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(state))
    new.replace(path)
