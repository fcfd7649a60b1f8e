"""What Dagster's events say came of one attempt of a step: materializations, observations, checks, output metadata, failure.

Collects them until the step ends. Knows the events' fields; opens no step, writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from xray_dagster import fields

_MAX_EACH: Final = 50
_ROW_COUNT: Final = "dagster/row_count"
_DATA_VERSION: Final = "dagster/data_version"
_CODE_VERSION: Final = "dagster/code_version"  # on every materialization that Dagster makes of an output by itself
KINDS: Final = frozenset({
    "STEP_OUTPUT", "ASSET_MATERIALIZATION", "ASSET_OBSERVATION", "ASSET_CHECK_EVALUATION", "STEP_EXPECTATION_RESULT",
})  # fmt: skip

Event = tuple[str, str | None]  # asset, partition


class StepResults:
    """The results of one attempt.

    Args:
        assets: the keys of the assets that the step makes; empty for a plain op.
    """

    def __init__(self, assets: Sequence[str]) -> None:
        self._assets = assets
        self._by_event: dict[str, dict[Event, dict[str, Any]]] = {}
        self._omitted: dict[str, set[Event]] = {}
        self._named: dict[str, dict[str, Any]] = {}
        self._rows: dict[str | None, int] = {}  # by partition; each as last said
        self._rows_of_output: int | None = None

    @property
    def row_count(self) -> int | None:
        """The rows of the one asset that the step makes: of all its partitions together, as far as it was said."""
        return sum(self._rows.values()) if self._rows else self._rows_of_output

    def observe(self, event: Any) -> None:
        """One event of a kind in KINDS."""
        kind, data = event.event_type_value, event.event_specific_data
        if kind == "ASSET_MATERIALIZATION":
            self._count_rows(data.materialization, self._asset_event("materialized", data.materialization))
        elif kind == "ASSET_OBSERVATION":
            self._asset_event("observed", data.asset_observation)
        elif kind == "ASSET_CHECK_EVALUATION":
            self._checked(data)
        elif kind == "STEP_EXPECTATION_RESULT":
            self._expected(data.expectation_result)
        elif kind == "STEP_OUTPUT" and data.metadata and not self._assets:  # an asset's is in its materialization
            name = data.step_output_handle.output_name
            self._named.setdefault("output_metadata", {})[name] = fields.plain_metadata(data.metadata)

    def failed(self, data: Any) -> None:
        """What the step's failure, or its request for a retry, says besides the error."""
        failure = getattr(data, "user_failure_data", None)
        if failure is not None and failure.metadata:
            self._named["failure"] = fields.plain_metadata(failure.metadata)

    def as_metadata(self) -> dict[str, Any]:
        """Name -> what came of it. An asset goes by its key, or by `key[partition]` where there were several partitions."""
        found: dict[str, Any] = dict(self._named)
        for name, events in self._by_event.items():
            partitions: dict[str, int] = {}
            for asset, _ in events:
                partitions[asset] = partitions.get(asset, 0) + 1
            found[name] = {
                asset if partition is None or partitions[asset] == 1 else f"{asset}[{partition}]": entry
                for (asset, partition), entry in events.items()
            }
        for name, omitted in self._omitted.items():
            found[f"{name}_omitted"] = len(omitted)
        return found

    def _asset_event(self, name: str, data: Any) -> dict[str, Any]:
        metadata = fields.plain_metadata(data.metadata)
        version = (getattr(data, "tags", None) or {}).get(_DATA_VERSION)
        entry = {
            **({"partition": data.partition} if data.partition is not None else {}),
            **({"data_version": version} if version is not None and self._is_told(name, data) else {}),
            **metadata,
        }
        events = self._by_event.setdefault(name, {})
        key = (fields.key_text(data.asset_key), data.partition)
        if key in events:
            events[key].update(entry)  # the op logged one, and Dagster made another of the op's output
        elif len(events) < _MAX_EACH:
            events[key] = entry
        else:
            self._omitted.setdefault(name, set()).add(key)
        return metadata

    def _is_told(self, name: str, data: Any) -> bool:
        """Whether a data version says something of the data: Dagster makes one up for every output without one."""
        return (
            name == "observed" or "dagster/data_version_is_user_provided" in data.tags or _CODE_VERSION not in data.tags
        )

    def _count_rows(self, materialization: Any, metadata: dict[str, Any]) -> None:
        rows = metadata.get(_ROW_COUNT)
        if (
            not isinstance(rows, int)
            or len(self._assets) != 1
            or fields.key_text(materialization.asset_key) != self._assets[0]
        ):
            return
        if _CODE_VERSION in (getattr(materialization, "tags", None) or {}):
            self._rows_of_output = rows  # the same on every partition of the output, so not to be added up
        else:
            self._rows[materialization.partition] = rows

    def _checked(self, data: Any) -> None:
        entry = {
            "passed": bool(data.passed),
            "severity": str(getattr(data.severity, "value", data.severity)),
            **({"blocking": True} if getattr(data, "blocking", False) else {}),
            **({"description": data.description} if getattr(data, "description", None) else {}),
            **fields.plain_metadata(data.metadata),
        }
        self._keep("checks", f"{fields.key_text(data.asset_key)}:{data.check_name}", entry)

    def _expected(self, result: Any) -> None:
        entry = {
            "passed": bool(result.success),
            **({"description": result.description} if result.description else {}),
            **fields.plain_metadata(result.metadata),
        }
        name, told = str(result.label or "result"), self._named.get("expectations", {})
        self._keep("expectations", name if name not in told else f"{name} ({len(told) + 1})", entry)

    def _keep(self, name: str, key: str, entry: dict[str, Any]) -> None:
        kept = self._named.setdefault(name, {})
        if len(kept) < _MAX_EACH:
            kept[key] = entry
        else:
            self._omitted.setdefault(name, set()).add((key, None))
