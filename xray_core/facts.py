"""What is said of a run or step as a whole: input, output, counts, metadata, what could not be kept.

Values are cleaned and fingerprinted when they are given, since the user may change them afterwards. Knows nothing of
items, records or times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xray_core import canonical
from xray_core.sanitize import REDACTED, Sanitizer
from xray_core.structure import known_size

MAX_METADATA: Final = 100
MAX_NAMED_OUTPUTS: Final = 100
MAX_NAME_CHARS: Final = 200

Held = tuple[Any, dict[str, Any]]  # the value as it may be stored, and the fingerprint of the whole


class Facts:
    """The facts of one run or step. Methods raise what goes wrong; their callers swallow it.

    Attributes:
        changed: whether anything was said since it was last set to False.
        counts: given and observed counts by name.
        dropped: what could not be kept -> how often.
    """

    __slots__ = (
        "_full", "_named_outputs", "_sanitizer", "changed", "counts", "dropped", "input", "metadata", "output",
    )  # fmt: skip

    def __init__(self, sanitizer: Sanitizer, *, full: bool) -> None:
        self._sanitizer = sanitizer
        self._full = full
        self._named_outputs: dict[str, Held] = {}
        self.changed = False
        self.counts: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.input: Held | None = None
        self.output: Held | None = None
        self.metadata: dict[str, Any] = {}

    def hold(self, value: Any) -> Held:
        """A value as it may be stored, and its fingerprint."""
        self.changed = True
        return self._sanitizer.clean(value), canonical.fingerprint(value)

    def set_count(self, name: str, n: int) -> None:
        self.counts[name] = max(0, int(n))
        self.changed = True

    def set_metadata(self, key: str, value: Any) -> None:
        if key not in self.metadata and len(self.metadata) >= MAX_METADATA:
            self.drop("metadata")
            return
        secret = self._sanitizer.is_secret(str(key))
        self.metadata[str(key)[:MAX_NAME_CHARS]] = REDACTED if secret else self._sanitizer.clean(value)
        self.changed = True

    def observe_input(self, value: Any) -> None:
        """What a framework passed in: its known size counts, the value itself is kept at capture level full only."""
        self._observe_size("observed_input", value)
        if self.input is None:
            self.input = self._observed(value)

    def observe_inputs(self, arguments: Mapping[str, Any]) -> None:
        """What a function was called with. One argument of known size gives the input count."""
        told = dict(arguments)
        sizes, shown = [], {}
        for name, value in told.items():
            size = known_size(value)
            shown[name] = value if self._full else about(value, size)
            if size is not None:
                sizes.append(size)
        if len(sizes) == 1:
            self.set_count("observed_input", sizes[0])
        if self.input is None and told:
            self.input = (self._sanitizer.clean(shown), canonical.fingerprint(told))
            self.changed = True

    def observe_output(self, value: Any, name: str | None) -> None:
        """What a framework got back. Named outputs are several; none of them sets the count, which would be a guess."""
        if name is None:
            self._observe_size("observed_output", value)
            if self.output is None:
                self.output = self._observed(value)
        elif len(self._named_outputs) >= MAX_NAMED_OUTPUTS:
            self.drop("outputs")
        else:
            self._named_outputs[name] = self._observed(value)

    def drop(self, what: str) -> None:
        self.dropped[what] = self.dropped.get(what, 0) + 1
        self.changed = True

    def let_go(self) -> None:
        """Forget the values, which are written down; the counts stay."""
        self.input = self.output = None
        self._named_outputs.clear()

    def as_record(self) -> dict[str, Any]:
        """The fields of a record that follow from these facts."""
        fields: dict[str, Any] = {}
        if self.metadata:
            fields["metadata"] = dict(self.metadata)
        output = self.output if self.output is not None else self._several_outputs()
        for side, held in (("input", self.input), ("output", output)):
            if held is not None:
                fields[side], fields[f"{side}_fp"] = held
        if self.dropped:
            fields["dropped"] = dict(self.dropped)
        return fields

    def _observe_size(self, name: str, value: Any) -> None:
        size = known_size(value)
        if size is not None:
            self.set_count(name, size)

    def _observed(self, value: Any) -> Held:
        self.changed = True
        shown = self._sanitizer.clean(value) if self._full else about(value, known_size(value))
        return shown, canonical.fingerprint(value)

    def _several_outputs(self) -> Held | None:
        """The named outputs as one value, and the fingerprint of all."""
        if not self._named_outputs:
            return None
        named = dict(self._named_outputs)
        prints: dict[str, Any] = {
            kind: canonical.fingerprint({name: each[kind] for name, (_, each) in named.items()})["exact"]
            for kind in ("exact", "unordered")
        }
        prints["partial"] = any(each["partial"] for _, each in named.values()) or "outputs" in self.dropped
        return self._sanitizer.clean({name: shown for name, (shown, _) in named.items()}), prints


def about(value: Any, size: int | None) -> dict[str, Any]:
    """A value by its type and known size: what is kept of it below capture level full."""
    name = type(value).__name__
    return {"$type": name} if size is None else {"$type": name, "size": size}
