"""What is captured of Dagster's objects: reads their fields into plain data. Opens no step, writes nothing.

Dagster is read by attribute and never imported, so that this works alike over its versions. A field that a version does
not have is left out, and that is logged once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from xray_core.capture.code_version import code_version_of
from xray_core.model import derived_id
from xray_core.objects import redaction
from xray_core.safety import swallow
from xray_dagster import locations

FRAMEWORK: Final = "dagster"
MAX_TRACEBACK_CHARS: Final = 4_000
_MAX_METADATA: Final = 50
_ASSET_JOBS: Final = ("__ASSET_JOB", "__ephemeral_asset_job__")
_RUN_TAG_PREFIXES: Final = ("dagster/", ".dagster/")
_PARTITION: Final = "dagster/partition"
UNKNOWN: Final = (
    "(unknown)"  # the kind of an event that says none: observed, so that this is logged and not passed over
)
STEP_TYPE_TAG: Final = "xray/step_type"
CAPTURE_TAG: Final = "xray/capture"


def run_id_of(dagster_run_id: str) -> str:
    """Dagster's run ids are UUIDs, so the run has the same id here and there."""
    return derived_id(FRAMEWORK, dagster_run_id)


def step_id_of(dagster_run_id: str, step_key: str) -> str:
    """Every process of the run derives the same."""
    return derived_id(FRAMEWORK, dagster_run_id, step_key)


def pipeline_of(dagster_run: Any) -> str:
    """The job's name; for assets materialized without a job, which Dagster runs under one made-up name, their code
    location's.
    """
    name = str(dagster_run.job_name)
    if not name.startswith(_ASSET_JOBS):
        return name
    location = locations.location_of(dagster_run)
    return f"{location}/assets" if location else "assets"


def without_secrets(config_type: Any, value: Any) -> Any:
    """A config without the values of its secret fields (`Field(..., is_secret=True)`), masked from here on wherever they turn
    up in this process.
    """
    declared = getattr(config_type, "fields", None)
    if isinstance(value, Mapping) and isinstance(declared, Mapping):
        shown = {}
        for name, each in value.items():
            field = declared.get(name)
            if getattr(field, "is_secret", False):
                redaction.learn(each)
                shown[name] = redaction.REDACTED
            else:
                shown[name] = without_secrets(getattr(field, "config_type", None), each)
        return shown
    inner = getattr(config_type, "inner_type", None)
    if inner is not None and isinstance(value, list):
        return [without_secrets(inner, each) for each in value]
    return value if inner is None else without_secrets(inner, value)


def run_input(dagster_run: Any, job: Any) -> dict[str, Any]:
    """What the run was asked to do: two runs with the same input should come to the same answer.

    `job` says which fields of the run's config are secret.
    """
    schema = None
    if dagster_run.run_config:
        schema = _optional(
            "the run config's schema", lambda: job.get_definition().run_config_schema.run_config_schema_type
        )
    return _without_nothing(
        run_config=_optional("run_config", lambda: without_secrets(schema, dict(dagster_run.run_config or {}))),
        partition=_optional("partition", lambda: partition_of(dagster_run.tags)),
        op_selection=_optional("op_selection", lambda: _sorted(dagster_run.resolved_op_selection)),
        asset_selection=_optional("asset_selection", lambda: _sorted(dagster_run.asset_selection, key_text)),
        step_selection=_optional(
            "step_keys_to_execute", lambda: _part_of_the_plan(dagster_run.step_keys_to_execute, job)
        ),
    )


def _part_of_the_plan(step_keys: Any, job: Any) -> list[Any] | None:
    """The steps that were chosen, where these are not all: Dagster names all steps of a plan in the same field."""
    if not step_keys:
        return None
    chosen = {str(key).partition("[")[0] for key in step_keys}  # of a mapped step any instance
    whole = set(_step_keys(job.get_definition()))
    return None if whole <= chosen else _sorted(step_keys)


def _step_keys(definition: Any, prefix: str = "") -> Iterator[str]:
    """The keys of all steps of a job or graph, those inside graphs too."""
    for node in definition.nodes:
        if hasattr(node.definition, "nodes"):
            yield from _step_keys(node.definition, f"{prefix}{node.name}.")
        else:
            yield f"{prefix}{node.name}"


def run_ids(dagster_run: Any) -> dict[str, Any]:
    """What names the run in Dagster: its id, job, code location, what launched it, its partition."""
    return _without_nothing(
        run_id=dagster_run.run_id,
        job=dagster_run.job_name,
        code_location=_optional("code location", lambda: locations.location_of(dagster_run)),
        parent_run_id=_optional("parent_run_id", lambda: dagster_run.parent_run_id),
        root_run_id=_optional("root_run_id", lambda: dagster_run.root_run_id),
        schedule=_optional("tags", lambda: dagster_run.tags.get("dagster/schedule_name")),
        sensor=_optional("tags", lambda: dagster_run.tags.get("dagster/sensor_name")),
        backfill=_optional("tags", lambda: dagster_run.tags.get("dagster/backfill")),
        partition=_optional("partition", lambda: partition_of(dagster_run.tags)),
    )


def run_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The user's own tags, and the partition; not those that Dagster sets for itself."""
    kept = {key: value for key, value in tags.items() if not key.startswith(_RUN_TAG_PREFIXES)}
    partition = partition_of(tags)
    return kept if partition is None else {**kept, "partition": partition}


def partition_of(tags: Mapping[str, str]) -> str | None:
    """The partition that a run is for, "first...last" for a range."""
    one = tags.get(_PARTITION)
    if one is not None:
        return one
    first, last = tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")
    return f"{first}...{last}" if first and last else None


def indexes_of(steps: Sequence[Any]) -> dict[str, int]:
    """Step -> its place in the order of the plan, the same in every process; the steps of a mapping share theirs."""
    order: dict[str, int] = {}
    for step in steps:
        order.setdefault(unresolved(step.key), len(order))
    return order


def unresolved(step_key: str) -> str:
    """`double[3]` as the plan writes it before it knows the mapping: `double[?]`."""
    return f"{step_key[: step_key.index('[')]}[?]" if step_key.endswith("]") and "[" in step_key else step_key


def mapping_key_of(step_key: str) -> str | None:
    """The mapping key of a step downstream of a dynamic output."""
    return step_key[step_key.index("[") + 1 : -1] if step_key.endswith("]") and "[" in step_key else None


def is_resolved(step: Any) -> bool:
    """Whether a step of the plan is as it will run: those downstream of a dynamic output are not, until it has come."""
    return hasattr(step, "get_execution_dependency_keys")


def is_dynamic(step: Any) -> bool:
    """Whether an output of a step is dynamic."""
    return any(output.properties.is_dynamic for output in step.step_outputs)


def upstream_of(step: Any) -> list[str]:
    """The keys of the steps that it waits for."""
    return sorted(step.get_execution_dependency_keys() if is_resolved(step) else step.get_all_dependency_keys())


class _Mapped:
    """A step downstream of a dynamic output, for one of its keys, where the plan has it for any."""

    def __init__(self, unresolved_step: Any, key: str) -> None:
        self.key = key
        self._step = unresolved_step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)

    def get_execution_dependency_keys(self) -> set[str]:
        place = f"[{mapping_key_of(self.key)}]"
        return {each.replace("[?]", place) for each in self._step.get_all_dependency_keys()}


def step_of_plan(plan: Any, step_key: str) -> Any:
    """The plan's step of this key, also of a mapped one that the plan does not have yet; None where there is none."""
    step = plan.step_dict_by_key.get(step_key)
    if step is not None or mapping_key_of(step_key) is None:
        return step
    step = plan.step_dict_by_key.get(unresolved(step_key))
    return _Mapped(step, step_key) if step is not None else None


class StepFields:
    """What is known of a step before it runs, the same for all its attempts.

    Attributes:
        name: the node's, with the graphs that it is in.
        ids: Dagster's own, but for the attempt.
        upstream: the keys of the steps that it waits for.
        kind: "op", "asset", "multi_asset", "graph_asset", "asset_check".
        outputs: by name, without the results of checks.
        several: whether it may have more than one output.
        dynamic: whether its outputs are dynamic ones.
        mapped: whether it is downstream of one, for one of its keys.
    """

    __slots__ = ("asset_keys", "dynamic", "ids", "kind", "mapped", "name", "outputs", "several", "upstream")

    def __init__(self, step: Any) -> None:
        handle = step.node_handle
        self.name = str(handle)
        self.upstream = upstream_of(step)
        self.asset_keys: list[str] = []
        self.outputs: dict[str, Any] = {}
        check_keys = []
        for output in step.step_outputs:
            properties = output.properties
            if properties.asset_key is not None:
                self.asset_keys.append(key_text(properties.asset_key))
            if properties.asset_check_key is not None:
                check_keys.append(check_text(properties.asset_check_key))
            else:
                self.outputs[output.name] = properties
        self.several = len(self.outputs) > 1
        self.dynamic = len(self.outputs) == 1 and next(iter(self.outputs.values())).is_dynamic
        if self.asset_keys:
            in_graph = handle.parent is not None
            self.kind = "graph_asset" if in_graph else "multi_asset" if len(self.asset_keys) > 1 else "asset"
        else:
            self.kind = "asset_check" if check_keys else "op"
        mapping_key = mapping_key_of(step.key)
        self.mapped = mapping_key is not None
        self.ids = _without_nothing(
            step_key=step.key,
            node=self.name,
            graph=str(handle.parent) if handle.parent is not None else None,
            mapping_key=mapping_key,
            assets=self.asset_keys,
            asset_checks=check_keys,
        )


class OpFields:
    """What is known of the op behind a step.

    Args:
        step: of the plan.
        context: of any step of the same run in this process: what is read of it is the job's and the run's.

    Attributes:
        tags: the op's own.
        code_version: the bytecode of the function the user wrote, and the version that they declared, if any.
        parameters: what the step was given besides its inputs; a change of it explains a changed answer.
        hooked: whether Dagster calls hooks when it has ended; also where that cannot be read.
    """

    __slots__ = ("code_version", "hooked", "parameters", "tags")

    def __init__(self, step: Any, context: Any) -> None:
        handle = step.node_handle
        op = _optional("the op", lambda: context.job_def.get_op(handle))
        policy = _optional("the retry policy", lambda: context.job_def.get_retry_policy_for_handle(handle))
        config = _optional("the op's config", lambda: context.resolved_run_config.ops.get(str(handle)))
        hooks = _optional("the op's hooks", lambda: context.job_def.get_all_hooks_for_handle(handle))
        self.hooked = hooks is None or len(hooks) > 0
        given = getattr(config, "config", None)
        if given is not None and op is not None:
            schema = _optional("the op's config schema", lambda: op.definition.config_schema.config_type)
            given = without_secrets(schema, given)
        self.tags: Mapping[str, str] = _optional("op tags", lambda: op.tags) or {} if op is not None else {}
        self.code_version = _optional("op definition", lambda: _code_version(op.definition)) if op is not None else None
        self.parameters = _without_nothing(
            config=given,
            max_retries=getattr(policy, "max_retries", None),
        )


def _code_version(definition: Any) -> str | None:
    compute = getattr(definition, "compute_fn", None)
    declared = getattr(definition, "_version", None)  # the property of that name warns
    code = code_version_of(getattr(compute, "decorated_fn", compute))
    return f"{declared} {code}" if declared and code else declared or code


def map_index_of(context: Any, step_key: str) -> int | None:
    """Where among its siblings a mapped step stands: the order in which the dynamic outputs came."""
    key = mapping_key_of(step_key)
    if key is None:
        return None
    known = _optional("get_known_state", lambda: context.get_known_state())
    for outputs in (known.dynamic_mappings if known is not None else {}).values():
        for keys in outputs.values():
            if keys is not None and key in keys:
                return list(keys).index(key)
    return None


_OWN_FRAME: Final = f"{os.sep}xray_dagster{os.sep}seams.py"
_WRAPPED: Final = re.compile(r"^Dagster|^RetryRequested")


def error_of(info: Any) -> dict[str, Any] | None:
    """The user's own error as {type, message, traceback}, out of the wrappers that Dagster puts around it."""
    if info is None:
        return None
    while info.cause is not None and _WRAPPED.match(info.cls_name or ""):
        info = info.cause
    name = info.cls_name or "Error"
    text = str(info.message).strip()
    # the message is the last line of a traceback: "module.ValueError: what it says"
    head, colon, rest = text.partition(": ")
    if head == name or head.endswith(f".{name}"):
        name, text = (name if head.startswith("dagster.") else head), rest if colon else ""
    frames = [frame for frame in info.stack if _OWN_FRAME not in frame]
    return {"type": name, "message": text, "traceback": "".join(frames)[-MAX_TRACEBACK_CHARS:]}


def plain_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Dagster's metadata values as the plain ones inside them; a table or schema by its type alone."""
    found: dict[str, Any] = {}
    for name, value in list((metadata or {}).items())[:_MAX_METADATA]:
        inner = getattr(value, "value", None)
        found[str(name)] = (
            inner if isinstance(inner, (str, int, float, bool, dict, list)) else f"<{type(value).__name__}>"
        )
    return found


def key_text(asset_key: Any) -> str:
    """An asset key as "schema/table"."""
    return "/".join(asset_key.path)


def check_text(check_key: Any) -> str:
    """An asset check as "schema/table:check"."""
    return f"{key_text(check_key.asset_key)}:{check_key.name}"


def _sorted(values: Any, text: Callable[[Any], str] = str) -> list[str] | None:
    return sorted(map(text, values)) if values else None


def _optional(what: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # noqa: BLE001
        swallow(f"reading {what} of Dagster", error)
        return None


def _without_nothing(**fields: Any) -> dict[str, Any]:
    return {
        name: value for name, value in fields.items() if value or not (value is None or isinstance(value, (list, dict)))
    }
