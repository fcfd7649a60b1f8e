"""Rules: what is watched, when it is a breach, and whom to tell. Owns their shape and what makes one wrong.

Knows neither HTTP nor a store; a rule is kept as the JSON of its fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from xray_server.alerts.targets import check_spelling

Metric = Literal[
    "rejection_rate",
    "reason_share",
    "unaccounted",
    "zero_output",
    "failed",
    "duration",
    "changed_rate",
    "changed_reasons",
]
MAX_RULES: Final = 500  # of a project
MAX_TARGETS: Final = 10
FOREVER_US: Final = 253_402_300_799_000_000  # the end of 9999
# Below these many items a metric says nothing: with one item the rate is always 0 or 1.
DEFAULT_MIN_ITEMS: Final[dict[str, int]] = {
    "rejection_rate": 20,
    "reason_share": 20,
    "unaccounted": 0,
    "zero_output": 1,
    "changed_rate": 50,
    "changed_reasons": 50,
}
_BOUNDED: Final = ("rejection_rate", "reason_share", "unaccounted", "duration")
_SHARES: Final = ("rejection_rate", "reason_share")
CHANGED: Final = ("changed_rate", "changed_reasons")

Word = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Bound = Annotated[float, Field(ge=0, le=1e13, allow_inf_nan=False)]


class Rule(BaseModel):
    """What a user says of an alert. A metric over the finished steps (or runs) of a scope, its bounds, and whom to tell.

    Without `step` and `step_type`, `failed` and `duration` are about runs; everything else is always about steps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
    metric: Metric
    pipeline: Word | None = None
    step: Word | None = Field(None, description="a step's name")
    step_type: Word | None = None
    reason: Word | None = Field(None, description="of `reason_share`")
    above: Bound | None = Field(None, description="breach above this: a share from 0 to 1, items, or milliseconds")
    below: Bound | None = Field(None, description="breach below this")
    min_items: int | None = Field(None, ge=0, le=10**12, description="with fewer items in, nothing is said")
    window: int = Field(20, ge=5, le=200, description="`changed_*`: compare with so many runs before")
    pool: int = Field(
        1, ge=1, le=200, description="`changed_rate`: so many newest runs are taken together, for small runs"
    )
    dimension: Annotated[str, StringConstraints(pattern=r"^[^=]+=.", max_length=300)] | None = Field(
        None, description="as in carrier=DHL: of the items with this value of a declared dimension alone"
    )
    min_runs: int = Field(5, ge=4, le=200, description="`changed_*`: with fewer runs to compare with, nothing is said")
    min_change: float = Field(0.1, ge=0.01, le=1, description="`changed_*`: smaller changes are not worth telling")
    cooldown_s: float = Field(900, ge=0, le=2_592_000, description="after a message, tell of no new breach for so long")
    to: list[Annotated[str, StringConstraints(min_length=1, max_length=2048)]] = Field(
        default_factory=list, max_length=MAX_TARGETS, description="http(s) webhooks, or addresses of Apprise"
    )
    secret: Annotated[str, StringConstraints(min_length=16, max_length=256)] | None = Field(
        None, description="signs webhooks; made when not given", repr=False
    )
    muted_until_us: int | None = Field(
        None, ge=0, le=FOREVER_US, description="until then no message is sent: microseconds since the epoch"
    )

    @field_validator("to")
    @classmethod
    def _targets(cls, value: list[str]) -> list[str]:
        for target in value:
            check_spelling(target)
        return value

    @model_validator(mode="after")
    def _fits_its_metric(self) -> Rule:
        given = self.above is not None or self.below is not None
        if self.metric in _BOUNDED and not given and self.metric != "unaccounted":
            raise ValueError(f"{self.metric} needs `above` or `below`")
        if self.metric not in _BOUNDED and given:
            raise ValueError(f"{self.metric} has no bounds: leave out `above` and `below`")
        if self.metric in _SHARES and any(bound is not None and bound > 1 for bound in (self.above, self.below)):
            raise ValueError(f"{self.metric} is a share: `above` and `below` are from 0 to 1")
        if (self.metric == "reason_share") != (self.reason is not None):
            raise ValueError("`reason` goes with reason_share, and reason_share needs it")
        if self.pool > 1 and self.metric != "changed_rate":
            raise ValueError("`pool` goes with changed_rate")
        if self.dimension is not None and self.metric not in ("changed_rate", "rejection_rate"):
            raise ValueError("`dimension` goes with rejection_rate and changed_rate")
        if self.metric in CHANGED and self.min_runs > self.window:
            raise ValueError("`min_runs` is more than `window`")
        return self

    @property
    def of_runs(self) -> bool:
        """Whether the rule judges runs; else it judges steps."""
        return self.metric in ("failed", "duration") and self.step is None and self.step_type is None

    @property
    def bounds(self) -> list[tuple[str, float]]:
        """("above" or "below", bound) of a metric that has bounds; `unaccounted` has one that need not be said."""
        said = [(way, bound) for way, bound in (("above", self.above), ("below", self.below)) if bound is not None]
        return said or ([("above", 0.0)] if self.metric == "unaccounted" else [])

    def with_bounds(self, above: float | None, below: float | None) -> Rule:
        """The rule with another bound; None: the one it has.

        Raises:
            ValidationError: its metric has no bounds, or not such ones.
        """
        given = {name: bound for name, bound in (("above", above), ("below", below)) if bound is not None}
        return Rule.model_validate({**self.model_dump(), **given})

    @property
    def subject(self) -> tuple[object, ...]:
        """What decides whether something is a breach: with another one, what was found so far says nothing."""
        told = ("name", "to", "secret", "muted_until_us", "cooldown_s")
        return tuple(repr(value) for name, value in self if name not in told)

    def muted(self, now_us: int) -> bool:
        """Whether no message is sent."""
        return self.muted_until_us is not None and now_us < self.muted_until_us

    @property
    def looks_back(self) -> int:
        """How many runs before the one that is judged are looked at: those of its pool, and the window before these."""
        return self.window + self.pool - 1

    @property
    def least_items(self) -> int:
        """Below so many items nothing is judged: the rule's own bound, or the metric's."""
        return DEFAULT_MIN_ITEMS.get(self.metric, 0) if self.min_items is None else self.min_items

    def covers(self, *, run: bool, pipeline: str | None, step: str | None, step_type: str | None) -> bool:
        """Whether a run or step is in the rule's scope."""
        return (
            run == self.of_runs
            and (self.pipeline is None or self.pipeline == pipeline)
            and (self.step is None or self.step == step)
            and (self.step_type is None or self.step_type == step_type)
        )

    def words(self) -> str:
        """What the rule says, as in "rejection_rate above 0.9 of step filter in shop"."""
        bounds = " or ".join(f"{way} {bound:g}" for way, bound in (("above", self.above), ("below", self.below)) if bound is not None)  # fmt: skip
        scope = [
            f"{kind} {name}" for kind, name in (("step", self.step), ("type", self.step_type), ("pipeline", self.pipeline)) if name
        ]  # fmt: skip
        metric = f"{self.metric} of {self.reason}" if self.reason else self.metric
        if self.pool > 1:
            metric += f" over {self.pool} runs"
        if self.dimension is not None:
            metric += f" where {self.dimension}"
        return " ".join(filter(None, (metric, bounds, "in " + ", ".join(scope) if scope else "anywhere")))


class StoredRule(BaseModel):
    """A rule as kept: whose it is, and since when."""

    model_config = ConfigDict(frozen=True)

    rule_id: str
    project: str
    created_us: int
    rule: Rule


def rule_problem(error: Any) -> tuple[str, str]:
    """The field and the words of the first thing that pydantic found wrong."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ".".join(map(str, first["loc"])), str(first["msg"]).removeprefix("Value error, ")
