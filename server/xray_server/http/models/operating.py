"""The shapes of what is written and operated: what was taken, errors, health, alerts."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

Object = dict[str, Any]
Status = Literal["running", "completed", "failed", "skipped"]


class Fault(TypedDict):
    """What was wrong with one field; `loc` is its path."""

    loc: list[str | int]
    field: str | None
    msg: str


class ErrorAnswer(TypedDict):
    """Any error: in words, and each fault with its field."""

    error: str
    detail: list[Fault]


class RefusedLine(TypedDict):
    """A line that was not taken, and why."""

    line: int
    error: str


class Ingested(TypedDict):
    """What was committed, and the lines that were not."""

    accepted: int
    refused: list[RefusedLine]


class Posted(TypedDict):
    """A run that was committed, in so many records."""

    run_id: str
    accepted: int


class Marked(TypedDict):
    """What a run is marked now."""

    run_id: str
    mark: Literal["good", "bad"] | None
    note: str | None


class DeletedRun(TypedDict):
    """A run that is gone."""

    run_id: str
    deleted: bool


class DeletedItem(TypedDict):
    """An item that is gone, and how many runs held it."""

    item_id: str
    deleted: bool
    runs: int


class Client(TypedDict, total=False):
    """A process that sends, and what it last said of itself."""

    part: str
    host: str | None
    pid: int | None
    sdk: str | None
    pipeline: str | None
    counters: dict[str, int]
    last_seen_at: str


class Sender(TypedDict):
    """A client that delivered to this process of the server since it started; `client` is its name and version."""

    client: str
    host: str | None
    pid: int | None
    address: str
    requests: int
    delivered: int
    refused: int
    first_seen_at: str
    last_seen_at: str


class Health(TypedDict, total=False):
    """How the server is; all but `status` takes a key that may read, where there are keys."""

    status: str
    error: str
    version: str
    uptime_s: float
    store: Object
    ingest: Object
    clients: list[Client]
    senders: list[Sender]
    alerts: Object


class Ready(TypedDict):
    """The server takes and answers requests."""

    ready: bool


class AlertRule(TypedDict, total=False):
    """A rule that is kept; targets are masked. `secret` and `warnings` are in the answer to its making alone."""

    rule_id: str
    name: str
    metric: str
    says: str
    pipeline: str | None
    step: str | None
    step_type: str | None
    reason: str | None
    above: float | None
    below: float | None
    min_items: int | None
    window: int
    pool: int
    dimension: str | None
    min_runs: int
    min_change: float
    cooldown_s: float
    to: list[str]
    created_at: str
    state: Literal["ok", "firing"]
    muted: bool
    muted_until: str | None
    firing_count: int
    firing: list[Object]
    secret: str
    warnings: list[str]


class AlertRules(TypedDict):
    """The rules, with what is firing."""

    rules: list[AlertRule]


class DryRun(TypedDict):
    """When a rule would have fired."""

    says: str
    judged: int
    breaches: int
    unsaid: int
    suppressed: int
    fired: int
    complete: bool
    events: list[Object]
    points: list[Object]
    near: Object | None
    range: list[float] | None
    whatif: Object | None


class Removed(TypedDict):
    """A rule that is gone."""

    removed: str


class Delivered(TypedDict):
    """What became of a test message to one target."""

    to: str
    sent: bool
    note: str | None


class TestSent(TypedDict):
    """What became of a test message."""

    deliveries: list[Delivered]


class AlertHistory(TypedDict):
    """What fired and resolved, newest first."""

    events: list[Object]
    next_cursor: int | None
