"""What is captured of a run or step as a whole: input, output, counts, decisions, metadata, origin, error, drops.

Values are cleaned and fingerprinted when they are given, since the user may change them afterwards. Knows nothing of
verdicts, records or times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from xray_core.bounds import CLAMPED, count, moment_us, name_text
from xray_core.capture.budget import Budget
from xray_core.model import ITEMS_IN, ITEMS_OUT, Origin
from xray_core.objects import form
from xray_core.objects.fingerprint import VERSION, fingerprint
from xray_core.objects.generated import may_be_made_anew
from xray_core.objects.near import Own, lasting, near
from xray_core.objects.redaction import REDACTED, learn
from xray_core.objects.sanitize import Sanitizer, hides
from xray_core.objects.structure import known_size, secret_in, type_name
from xray_core.safety import reraise_interrupt

MAX_DECISIONS: Final = 100
MAX_METADATA: Final = 100
MAX_NAMED_OUTPUTS: Final = 100
_FINGERPRINT: Final = 0.5  # of the time that is left for looking at values; the rest is for the items in them
_TEXTS_OF_ORIGIN: Final = ("framework", "kind", "url", "state")

Held = tuple[Any, dict[str, Any]]  # the value as it may be stored, and the fingerprint of the whole


_PARAMETERS: Final = frozenset({str, int, float, bool, type(None)})
_MAX_PARAMETER_CHARS: Final = 1_000


class CapturedValues:
    """The values of one run or step. Methods raise what goes wrong; their callers swallow it.

    Attributes:
        changed: whether anything was set since this was last made False.
        counts: what the user counted, by name.
        items: the item sets given or inferred, by side (`model.ITEMS_IN`, `ITEMS_OUT`).
        dropped: what could not be kept -> how often.
        origin: the framework object behind it, cleaned; see `model.Origin`.
        origin_is_clean: whether a record with it was looked through, and held no secret.
        error: what it failed with, cleaned.
    """

    __slots__ = (
        "_budget", "_decisions", "_full", "_named_outputs", "_own", "_sanitizer", "changed", "counts", "dropped", "error", "inference", "input",
        "items", "metadata", "origin", "origin_is_clean", "output", "relation",
    )  # fmt: skip

    def __init__(self, sanitizer: Sanitizer, *, full: bool, run_id: str = "") -> None:
        self._sanitizer = sanitizer
        self._full = full
        self._named_outputs: dict[str, Held] = {}
        self._own = Own(run_id, {})
        self._budget: Budget | None = None
        self.changed = False
        self.counts: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.input: Held | None = None
        self.output: Held | None = None
        self.metadata: dict[str, Any] = {}
        self.items: dict[str, Any] = {}
        self.relation: str | None = None
        self.inference: dict[str, Any] | None = None
        self._decisions: list[dict[str, Any]] = []
        self.origin: dict[str, Any] | None = None
        self.origin_is_clean = False
        self.error: dict[str, Any] | None = None

    @property
    def budget(self) -> Budget:
        """The time that looking at what adapters saw may take. Made with the first look: of most steps of a script there is none."""
        if self._budget is None:
            self._budget = Budget()
        return self._budget

    def hold(self, value: Any) -> Held:
        """A value as it may be stored, and its fingerprint."""
        self.changed = True
        return self._sanitizer.clean(value), _print(value)

    def set_count(self, name: str, n: object) -> None:
        """A count by name: "input_count" or "output_count", in items. What cannot be one is not known, and counted."""
        found = count(n)
        if found is None:
            self.count_dropped(CLAMPED + name)
            return
        self.counts[name] = found
        self.changed = True

    def moment(self, name: str, given: object, *, otherwise: int) -> int:
        """A moment that was given, in microseconds; `otherwise` where it cannot be one, and that is counted."""
        found = moment_us(given)
        if found is None:
            self.count_dropped(CLAMPED + name)
            return otherwise
        return found

    def count(self, side: str) -> int | None:
        """Items in ("input") or out ("output") by the user's word: what was counted, else how many items were given."""
        given = self.counts.get(f"{side}_count")
        if given is not None:
            return given
        items = self.items.get(ITEMS_IN if side == "input" else ITEMS_OUT)
        return None if items is None or items.get("inferred") else int(items["n"])

    def set_items(self, side: str, items: Any) -> None:
        """An item set as `VerdictLog.write_items` returns it; `side` is `model.ITEMS_IN` or `ITEMS_OUT`."""
        self.items[side] = items
        self.changed = True

    def set_inference(self, relation: str | None, inference: dict[str, Any] | None) -> None:
        """How what came out relates to what went in, and why nothing was inferred, where there is something to say."""
        self.relation, self.inference = relation, inference
        self.changed = True

    def set_origin(self, origin: Origin) -> None:
        """The framework object behind the run or step."""
        self.changed = True
        self.origin_is_clean = False
        fields = self._sanitizer.clean(origin.as_json()) if isinstance(origin, Origin) else None
        if not isinstance(fields, dict):
            self.count_dropped(CLAMPED + "origin")
            return
        for name in _TEXTS_OF_ORIGIN:
            if type(fields.get(name)) is not str and fields.get(name) is not None:
                fields[name] = name_text(fields[name])
        if type(fields.get("ids")) is not dict:
            fields["ids"] = {}
        self.origin = fields

    def set_origin_state(self, state: str) -> None:
        """The framework's own word for how it is now; the rest of the origin stays."""
        # a framework has few states and says one of every step: remembered, as keys are
        self.origin = {**(self.origin or {}), "state": self._sanitizer.key(state)[0]}
        self.changed = True

    def set_error(self, error: BaseException | Mapping[str, Any], trace: TracebackType | None) -> None:
        """What it failed with: an exception, or a mapping {type, message, traceback}."""
        try:
            self.error = self._sanitizer.error(error, trace)
        except Exception as problem:  # noqa: BLE001  # a hostile mapping: that it failed is said all the same
            reraise_interrupt(problem)
            self.error = {"type": type_name(type(error)), "message": f"cannot be read: {type(problem).__name__}"}
        self.changed = True

    def add_decision(self, decision: Callable[[], dict[str, Any]]) -> None:
        """One more decision, if there is room for it: it is made only then."""
        if len(self._decisions) >= MAX_DECISIONS:
            self.count_dropped("decisions")
            return
        self._decisions.append(decision())
        self.changed = True

    def set_metadata(self, key: object, value: Any) -> None:
        """A fact by name; the value of a secret key is redacted, and beyond 100 names facts are dropped, counted."""
        name = name_text(key)
        if name not in self.metadata and len(self.metadata) >= MAX_METADATA:
            self.count_dropped("metadata")
            return
        secret = self._sanitizer.secrecy(name)
        self.metadata[name] = REDACTED if hides(secret, value) else self._sanitizer.clean(value)
        self.changed = True

    def set_all_metadata(self, metadata: object) -> None:
        """Several at once, as they are given with a run or a step; what is no mapping is counted."""
        if metadata is None:
            return
        try:
            pairs = list(dict(metadata).items()) if isinstance(metadata, Mapping) else None
        except Exception as error:  # noqa: BLE001  # a mapping of the user's own that raises
            reraise_interrupt(error)
            pairs = None
        if pairs is None:
            self.count_dropped(CLAMPED + "metadata")
            return
        for key, value in pairs:
            self.set_metadata(key, value)

    def observe_input(self, value: Any) -> None:
        """What a framework passed in: its type and known size; the value itself at capture level full only."""
        if self.input is None:
            self.input = self._observed(value)

    def observe_inputs(self, arguments: Mapping[str, Any]) -> None:
        """What a function was called with."""
        given = dict(arguments)
        if self.input is None and given:
            for value in given.values():
                learn(secret_in(value))
            shown = given if self._full else {name: _about_argument(value) for name, value in given.items()}
            with self.budget.look(share=_FINGERPRINT):
                self.input = (self._sanitizer.clean(shown), _print(given, self.budget.tick, self._own))
            self.changed = True

    def observe_further(self, name: str, value: Any, took_s: float) -> None:
        """What a function fetched itself while it ran: an argument more."""
        learn(secret_in(value))
        shown, known = self.input if self.input is not None else ({}, _print({}))
        with self.budget.look(took_s):
            further = _print({name: value}, self.budget.tick, self._own)
        about_it = self._sanitizer.clean(value if self._full else _about_argument(value))
        self.input = {**shown, name: about_it} if isinstance(shown, dict) else shown, _both(known, further)
        self.changed = True

    def observe_output(self, value: Any, name: str | None, took_s: float = 0.0) -> None:
        """What a framework got back; named where there are several. `took_s`: how long the step has run."""
        if name is None:
            if self.output is None:
                self.output = self._observed(value, took_s)
        elif len(self._named_outputs) >= MAX_NAMED_OUTPUTS:
            self.count_dropped("outputs")
        else:
            self._named_outputs[name] = self._observed(value, took_s)

    def observe_output_size(self, kind: str, n: int, *, left: bool = False) -> None:
        """How many came out of what was not held: shown as a size, like that of a collection."""
        if self.output is None:
            shown = {"$type": kind, "size": n, **({"left": True} if left else {})}
            self.output = shown, {**fingerprint(shown), "partial": True}
            self.changed = True

    def count_dropped(self, what: str, n: int = 1) -> None:
        """Count `n` things that could not be kept, under the name `what`."""
        self.dropped[what] = self.dropped.get(what, 0) + n
        self.changed = True

    def release_values(self, *, keep_origin: bool = False) -> None:
        """Drop the references to values that are written down; the counts stay."""
        self.input = self.output = None
        if not keep_origin:
            self.origin = None
        self._named_outputs.clear()

    def fields_at_start(self) -> dict[str, Any]:
        """The fields of the record that is written when the step or run begins."""
        fields: dict[str, Any] = {}
        if self.origin is not None:
            fields["origin"] = self.origin
        if self.metadata:
            fields["metadata"] = dict(self.metadata)
        return fields

    def as_fields(self) -> dict[str, Any]:
        """The fields of a record that follow from these values; field names as in `xray_core.wire`."""
        fields = self.fields_at_start()
        if self.counts or self.items:
            for side in ("input", "output"):
                n = self.count(side)
                if n is not None:
                    fields[f"{side}_count"] = n
        if self.items:
            fields["items"] = dict(self.items)
        if self.relation is not None:
            fields["relation"] = self.relation
        if self.inference is not None:
            fields["inference"] = self.inference
        if self._decisions:
            fields["decisions"] = list(self._decisions)
        if self.error is not None:
            fields["error"] = self.error
        output = self.output if self.output is not None else self._several_outputs()
        for side, held in (("input", self.input), ("output", output)):
            if held is not None:
                fields[side], fields[f"{side}_fp"] = held
        if self.dropped:
            fields["dropped"] = dict(self.dropped)
        return fields

    def _observed(self, value: Any, took_s: float = 0.0) -> Held:
        self.changed = True
        shown = self._sanitizer.clean(value) if self._full else about(value, known_size(value))
        with self.budget.look(took_s, share=_FINGERPRINT):
            return shown, _print(value, self.budget.tick, self._own)

    def _several_outputs(self) -> Held | None:
        """The named outputs as one value, and the fingerprint of all."""
        if not self._named_outputs:
            return None
        named = dict(self._named_outputs)
        prints: dict[str, Any] = {
            kind: fingerprint({name: each[kind] for name, (_, each) in named.items()})["exact"]
            for kind in ("exact", "unordered")
        }
        prints["v"] = VERSION
        forms = [each.get("form") or form.UNKNOWN for _, each in named.values()]
        prints["form"] = form.UNKNOWN if form.UNKNOWN in forms else form.digest(forms)
        prints["partial"] = any(each["partial"] for _, each in named.values()) or "outputs" in self.dropped
        return self._sanitizer.clean({name: shown for name, (shown, _) in named.items()}), prints


def _print(value: Any, tick: Callable[[float], None] | None = None, own: Own | None = None) -> dict[str, Any]:
    """The fingerprint of a value, and where it is whole its form, and what is the same of other numbers or another run."""
    made = fingerprint(value, tick)
    if made["partial"]:
        return made
    further = {"near": near(value, made["exact"]), "lasting": lasting(value, own or Own("", {}))}
    if type(value) is str and may_be_made_anew(value):
        made["made_up"] = True  # perhaps: what a text is, its fingerprint does not tell
    return {**made, "form": form.form(value), **{name: each for name, each in further.items() if each is not None}}


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The fingerprint of two values together."""
    if one["partial"] or other["partial"]:
        return {**one, "partial": True}
    return {**_print([one["exact"], other["exact"]]), "form": form.digest([one["form"], other["form"]])}


def about(value: Any, size: int | None) -> dict[str, Any]:
    """A value by its type and known size: what is kept of it below capture level full."""
    name = type(value).__name__
    return {"$type": name} if size is None else {"$type": name, "size": size}


def _about_argument(value: Any) -> dict[str, Any]:
    """An argument by its type and size; a short text, a number or a flag, which is often a parameter, by its fingerprint too."""
    shown = about(value, known_size(value))
    if type(value) in _PARAMETERS and not (type(value) is str and len(value) > _MAX_PARAMETER_CHARS):
        shown["fp"] = fingerprint(value)["exact"]
    return shown
