"""Runs that were deleted stay deleted: what still arrives of them, from a spool or a retry, is taken and not kept.

A store keeps a digest of each deleted id. Its writer looks, within the transaction that writes, whether a batch speaks of one,
and then writes the batch without. Knows no driver.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from xray_server.backends.relational.rows import RunKey
from xray_server.records.schema import ClientRecord
from xray_server.store import Batch


def without(batches: Sequence[Batch], runs: Collection[RunKey], project_id: Callable[[str], int]) -> list[Batch]:
    """The batches without the records of these runs."""
    return [
        replace(
            batch,
            records=[
                record
                for record in batch.records
                if isinstance(record, ClientRecord) or (project_id(batch.project), record.run_id) not in runs
            ],
        )
        for batch in batches
    ]
