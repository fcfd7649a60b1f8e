"""What is said of a step as a whole: `StepValues`, the half of `Step` that takes inputs, outputs, metadata and origins.

What adapters observed of them is held until the step ends, and items are inferred from it then (inference/). Where a background
thread has time for it, small plain values are packed and looked at later (late.py). Knows nothing of how a step opens and closes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from xray_core.capture import snapshots
from xray_core.capture.inference import Observed, writing
from xray_core.capture.step_items import StepItems
from xray_core.item_keys import Key, key_of
from xray_core.model import Origin
from xray_core.safety import guarded, swallow

MAX_PUT_OFF: Final = 4  # values of one step
_BEFORE: Final = 0.5  # of the time that is left for looking, before the step begins: the rest is for what comes out


class StepValues(StepItems):
    """The values of one step attempt, beside its items. `Step` adds identity and the life of the step."""

    __slots__ = ("_clock_start", "_item_key", "_observed", "_put_off", "_released", "name")

    _clock_start: int  # of the recorder's clock
    _item_key: Key | None  # by a tag of the framework's
    _observed: Observed | None  # what adapters saw, until the end of the step
    _put_off: list[tuple[Callable[..., None], bytes, tuple[Any, ...]]] | None  # looks, each with a packed value
    _released: bool  # ended: its record is final, but for what was put off
    name: str

    @guarded("step.set_input")
    def set_input(self, value: Any) -> None:
        """What went in: any object, stored bounded and redacted, fingerprinted whole, so that runs can be compared."""
        self._values.input = self._values.hold(value)

    @guarded("step.set_output")
    def set_output(self, value: Any) -> None:
        """What came out; see `set_input`."""
        self._values.output = self._values.hold(value)

    def set_input_count(self, n: int) -> None:
        """How many items went in. Optional: follows from the verdicts where not given."""
        self._set_count("input_count", n)

    def set_output_count(self, n: int) -> None:
        """How many items came out. Optional, as for `set_input_count`."""
        self._set_count("output_count", n)

    @guarded("step.set_metadata")
    def set_metadata(self, key: str, value: Any) -> None:
        """A fact about this step: a parameter, a model name. Compared between runs.

        What came of the step rather than went into it belongs under a key that begins with "result.".
        """
        self._values.set_metadata(key, value)

    def _set_count(self, name: str, n: int) -> None:
        try:
            self._values.set_count(name, n)
        except Exception as error:  # noqa: BLE001
            self._values.count_dropped(name)
            swallow(f"step.set_{name}", error)

    # ------------------------------------------------------------------ for adapters: what a framework saw

    @guarded("step.observe_input")
    def observe_input(self, value: Any) -> None:
        """For adapters: what the framework passed in: its type and known size, the value itself at capture level full only.
        A size is no count of items.
        """
        if not self._puts_off(self._see_input, value):
            self._see_input(value)

    @guarded("step.observe_inputs")
    def observe_inputs(self, arguments: Mapping[str, Any]) -> None:
        """For adapters: what a function was called with; see `observe_input`."""
        if not self._puts_off(self._see_inputs, arguments):
            self._see_inputs(arguments)

    @guarded("step.observe_pulled")
    def observe_pulled(self, name: str, values: Sequence[Any]) -> None:
        """For adapters: what the program itself pulled out of the lazy argument `name`, one by one, while the step ran."""
        if self._released:
            return
        self._catch_up()
        observed = self._observing()
        if observed is not None and values:
            with self._values.budget.look(self._ran_s()):
                observed.see_pulled(name, list(values))

    @guarded("step.observe_further")
    def observe_further(self, name: str, value: Any) -> None:
        """For adapters: what the program fetched from the framework while the step ran, as if it had been called with it."""
        if self._released:
            return
        self._catch_up()
        self._values.observe_further(name, value, self._ran_s())
        self._hold({name: value})
        self._read({name: value})

    @guarded("step.observe_output")
    def observe_output(self, value: Any, *, name: str | None = None) -> None:
        """For adapters: what the framework got back; see `observe_input`.

        A step with several outputs gives each by its name, as they come: none is held on to. At most 100 are kept.
        """
        took_s = self._ran_s()
        if not self._puts_off(self._see_output, value, name, took_s):
            self._see_output(value, name, took_s)

    @guarded("step.observe_output_size")
    def observe_output_size(self, n: int, *, kind: str = "generator", left: bool = False) -> None:
        """For adapters: how many came out, where that is known without the value (a generator's yields): a size, no count.

        Args:
            left: whoever took them left it early, so there may have been more.
        """
        if self._released:
            return
        self._catch_up()
        self._values.observe_output_size(kind, n, left=left)

    def _puts_off(self, see: Callable[..., None], value: Any, *rest: Any) -> bool:
        """Whether nobody has to look at a value now: it is small and plain, was packed, and somebody will look later; or the step
        has ended, and nothing more is seen of it. Else what was put off before is looked at first.
        """
        if self._released:
            return True
        if self._at_rest:
            self._resume(ended_too=True)
        if self._recorder.sink.settles:
            try:
                look = (see, snapshots.packed(value), rest)
            except snapshots.NotPlainError:
                pass
            else:
                with self._lock:
                    if self._put_off is None:
                        self._put_off = []
                    if len(self._put_off) < MAX_PUT_OFF:
                        self._put_off.append(look)
                        return True
        self._catch_up()
        return False

    def _catch_up(self) -> None:
        """Look at what was put off."""
        if self._put_off is not None:
            with self._lock:
                put_off, self._put_off = self._put_off, None
                for see, value, rest in put_off or ():
                    see(snapshots.unpacked(value), *rest)

    @guarded("step.observe_input")
    def _see_input(self, value: Any) -> None:
        self._hold({"input": value})
        self._values.observe_input(value)
        self._read({"input": value})

    @guarded("step.observe_inputs")
    def _see_inputs(self, arguments: Mapping[str, Any]) -> None:
        self._hold(arguments)
        self._values.observe_inputs(arguments)
        self._read(arguments)

    @guarded("step.observe_output")
    def _see_output(self, value: Any, name: str | None, took_s: float) -> None:
        self._values.observe_output(value, name, took_s)
        observed = self._observing()
        if observed is not None:
            with self._values.budget.look(took_s):
                observed.see_result(value, one_of_several=name is not None)

    @guarded("step.set_item_key")
    def set_item_key(self, key: str) -> None:
        """For adapters: the field that names this step's items (several with commas between), by a tag of the framework's.
        Before what went in is observed.
        """
        self._item_key = key_of(key)

    def _observing(self) -> Observed | None:
        """Where what an adapter sees is held; None where nothing is to be inferred."""
        if self._observed is None and self._recorder.settings.items != "off":
            key = self._item_key
            if key is None:
                key = self._recorder.item_keys.of(self.run.pipeline, self.name)
            tick = self._values.budget.tick
            self._observed = Observed(key, self._recorder.sanitizer, tick, fields=self._item_fields)
        return self._observed

    def _ran_s(self) -> float:
        return (self._recorder.clock_ns() - self._clock_start) / 1e9

    def _hold(self, arguments: Mapping[str, Any]) -> None:
        observed = self._observing()
        if observed is not None:
            with self._values.budget.look():
                observed.see_arguments(arguments, of_one=self._head.map_index is not None)

    def _read(self, arguments: Mapping[str, Any]) -> None:
        if self._observed is not None:
            with self._values.budget.look(share=_BEFORE):
                self._observed.read_arguments(arguments)

    @guarded("inferring the items of a step")
    def _infer(self, took_s: float, *, failed: bool) -> None:
        """The items that went in and came out, as far as arguments and results tell."""
        observed, self._observed = self._observed, None
        if observed is None:
            return
        with self._values.budget.look(took_s):
            found = observed.infer(failed=failed)
        if found is not None:
            writing.write(found, self._made_log(), self._values, self._recorder)

    @guarded("step.set_origin")
    def set_origin(self, origin: Origin) -> None:
        """For adapters: the framework object behind this step."""
        self._values.set_origin(origin)

    @guarded("step.set_origin_state")
    def set_origin_state(self, state: str) -> None:
        """For adapters: the framework's own word for how the step is now; the rest of its origin stays."""
        self._values.set_origin_state(state)
