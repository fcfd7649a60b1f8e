"""Judging what was committed: a thread that reads notes, judges their subjects, and settles each note in one transaction.

It is in nobody's way: it works two milliseconds at a stretch, and while records are being committed it rests in between, so
that it takes about a twentieth of one core; notes wait in the store meanwhile, across restarts too. Owns no rule of judging.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from xray_core.safety import swallow
from xray_server.alerts.judge import Figures, judge, run_figures, step_figures
from xray_server.alerts.messages import event_of, telling_items
from xray_server.alerts.rules import CHANGED, Rule, StoredRule
from xray_server.alerts.series import SeriesState, advance
from xray_server.alerts.store import AlertStore, SeriesKey, Settlement
from xray_server.alerts.watch import Subject, Watch, subjects_of
from xray_server.store import MAX_PAGE, StepFilter, Store, StoreUnavailableError
from xray_server.turns import Turns

TOO_LATE_US: Final = 86_400_000_000  # what ended a day before it came is history: a backfill must not ring at night
_BUSY_SHARE: Final = 0.05  # of a core, while records are committed
_BUSY_S: Final = 0.5  # for so long after a commit the server counts as busy
_POLL_S: Final = 1.0  # how long a wake-up that was missed is missed
_RELOAD_S: Final = 5.0  # rules may be changed by another server on the same store
_RETRY_S: Final = 1.0
_KEPT_WINDOWS: Final = 3  # as many windows of the newest steps are kept in memory, of so many step names:
_MAX_RECENT: Final = 200
_RECENT_S: Final = 10.0  # steps may reach the store through another server


class Engine:
    """The judging thread. `start` once, `wake` from any thread, `close` ends it after the note at hand.

    Args:
        on_messages: called after messages were written, so that they are delivered at once.
        clock_us: now, in microseconds since the epoch.
    """

    def __init__(
        self, store: Store, alerts: AlertStore, watch: Watch, *, base_url: str, on_messages: Callable[[], None], clock_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store, self._alerts, self._watch = store, alerts, watch
        self._base_url, self._on_messages, self._clock_us = base_url, on_messages, clock_us
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy_until_s = 0.0
        self._turns = Turns(self._closing.wait, share=_BUSY_SHARE, busy=lambda: time.monotonic() < self._busy_until_s)
        self._loaded_s = float("-inf")
        self._recent: OrderedDict[tuple[str, str | None, str | None, int], _Recent] = OrderedDict()
        self._known: dict[SeriesKey, SeriesState] = {}  # of the note at hand
        self.judged = self.too_late = self.undeliverable = 0

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread = threading.Thread(target=self._run, name="xray-alerts", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something was committed. Cheap; called by the committer."""
        self._busy_until_s = time.monotonic() + _BUSY_S
        self._wake.set()

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Stop after the judgement at hand; waits for the thread, `timeout_s` at most."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def reload(self) -> None:
        """Take up rules that were added or removed. From any thread."""
        self._watch.use(self._alerts.rules())
        self._loaded_s = time.monotonic()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(_POLL_S)
            self._wake.clear()
            try:
                if time.monotonic() - self._loaded_s > _RELOAD_S:
                    self.reload()
                while not self._closing.is_set() and self._one_note():
                    pass
            except StoreUnavailableError:
                self._closing.wait(_RETRY_S)
            except Exception as error:  # noqa: BLE001  # the thread must live; the note is tried again
                swallow("alerts engine", error)
                self._closing.wait(_RETRY_S)

    def _one_note(self) -> bool:
        notes = self._alerts.notes(1) if self._alerts.leads() else []
        if not notes:
            self._watch.waiting = 0
            return False
        number, note = notes[0]
        self._turns.begin()
        self.settle(number, subjects_of(note))
        self._watch.waiting = max(0, self._watch.waiting - 1)
        self._turns.rest()
        return True

    def settle(self, number: int, subjects: Sequence[Subject]) -> None:
        """Judge the subjects of a note and write what follows.

        Raises:
            StoreUnavailableError: nothing was written; the note waits.
        """
        now_us = self._clock_us()
        found: list[Figures] = []
        for subject in subjects:
            self._turns.rest()
            figures = self._figures(subject)
            if figures is not None:
                found.append(figures)
        seen = self._alerts.seen([each.subject for each in found])
        fresh = sorted(
            (each for each in found if seen.get(each.subject) != each.digest), key=lambda each: each.ended_us
        )
        self._known = {}
        settlement = Settlement(number, seen={each.subject: each.digest for each in fresh})
        for each in fresh:
            self._turns.rest()
            if now_us - each.ended_us > TOO_LATE_US:
                self.too_late += 1
                continue
            for stored in self._watch.covering(_place(each)):
                try:
                    self._apply(stored, each, settlement, now_us)
                except StoreUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001  # one rule's trouble is not another's
                    swallow(f"alerts rule {stored.rule.metric}", error)
            self.judged += 1
            self._remember(each)
        self.undeliverable += self._alerts.settle(settlement, now_us=now_us)
        if settlement.events:
            self._on_messages()

    def _figures(self, subject: Subject) -> Figures | None:
        project, run_id, step_id, attempt = subject
        if step_id is None:
            run = self._store.run(project, run_id)
            found = None if run is None else run_figures(project, run)
        else:
            step = next((s for s in self._store.step(project, run_id, step_id) if s.attempt == attempt), None)
            found = None if step is None else step_figures(project, step)
        return None if found is None or found.status == "running" else found

    def _apply(self, stored: StoredRule, found: Figures, settlement: Settlement, now_us: int) -> None:
        rule, key = stored.rule, (stored.rule_id, found.series)
        state = self._state(key, settlement)
        before = self._before(rule, found, state) if rule.metric in CHANGED else ()
        judgement = judge(rule, found, before, self._pooled(rule, found) if rule.pool > 1 else ())
        after, event = advance(state, found, judgement, now_us=now_us, cooldown_us=int(rule.cooldown_s * 1e6))
        if after is not state:
            settlement.states[key] = after
        if event is not None:
            items = telling_items(self._store, stored, found) if event == "fired" else []
            of = state if event == "resolved" else after
            settlement.events.append(
                event_of(event, stored, found, judgement, of, now_us=now_us, base_url=self._base_url, items=items)
            )

    def _state(self, key: SeriesKey, settlement: Settlement) -> SeriesState:
        state = settlement.states.get(key) or self._known.get(key)
        if state is None:
            state = self._known[key] = self._alerts.states([key]).get(key) or SeriesState()
        return state

    def _before(self, rule: Rule, found: Figures, state: SeriesState) -> list[Figures]:
        """The last finished steps of the same name in other runs: while firing those before it fired, so that what is
        wrong does not become its own measure; after a whole window of it, it is the new normal.
        """
        if found.name is None:
            return []
        frozen = state.firing and state.breaches < rule.window
        until_us = min(found.at_us, state.started_at_us) if frozen else found.at_us
        recent = self._recent_of(found, rule.looks_back)
        fits = _latest(recent.steps.values(), found, until_us, rule.looks_back)
        if len(fits) == rule.looks_back or len(recent.steps) < rule.looks_back * _KEPT_WINDOWS:
            return fits[rule.pool - 1 :]
        where = StepFilter(name=found.name, pipeline=found.pipeline, status="completed", until_us=until_us)
        page = self._store.steps(found.project, where, limit=min(MAX_PAGE, rule.looks_back * _KEPT_WINDOWS))
        steps = (step_figures(found.project, step) for step in page.items)
        return _latest(steps, found, until_us, rule.looks_back)[rule.pool - 1 :]

    def _pooled(self, rule: Rule, found: Figures) -> list[Figures]:
        """The steps just before this one that are taken together with it."""
        if found.name is None:
            return []
        recent = self._recent_of(found, rule.looks_back)
        return _latest(recent.steps.values(), found, found.at_us, rule.pool - 1)

    def _recent_of(self, found: Figures, window: int) -> _Recent:
        key = (found.project, found.pipeline, found.name, window)
        recent = self._recent.get(key)
        now_s = time.monotonic()
        if recent is None or now_s - recent.loaded_s > _RECENT_S:
            # those before this one: when judging is behind, the newest of all are later than it
            where = StepFilter(name=found.name, pipeline=found.pipeline, status="completed", until_us=found.at_us)
            page = self._store.steps(found.project, where, limit=min(MAX_PAGE, window * _KEPT_WINDOWS))
            figures = [step_figures(found.project, step) for step in page.items[::-1]]
            recent = self._recent[key] = _Recent({each.subject: each for each in figures if each.input > 0}, now_s)
        self._recent.move_to_end(key)
        if len(self._recent) > _MAX_RECENT:
            self._recent.popitem(last=False)
        return recent

    def _remember(self, found: Figures) -> None:
        """A judged step is one that later ones are compared with."""
        if found.step_id is None or found.status != "completed" or found.input == 0:
            return
        for window in {
            stored.rule.looks_back for stored in self._watch.covering(_place(found)) if stored.rule.metric in CHANGED
        }:
            recent = self._recent.get((found.project, found.pipeline, found.name, window))
            if recent is not None:
                recent.steps[found.subject] = found
                while len(recent.steps) > window * _KEPT_WINDOWS:
                    del recent.steps[next(iter(recent.steps))]


class _Recent:
    """The newest finished steps of one name, so that each is read once and not again for every step after it."""

    __slots__ = ("loaded_s", "steps")

    def __init__(self, steps: dict[bytes, Figures], loaded_s: float) -> None:
        self.steps, self.loaded_s = steps, loaded_s


def _latest(steps: Iterable[Figures], found: Figures, until_us: int, window: int) -> list[Figures]:
    fits = [each for each in steps if each.at_us < until_us and each.run_id != found.run_id and each.input > 0]
    return sorted(fits, key=lambda each: -each.at_us)[:window]


def _place(found: Figures) -> tuple[str, bool, str | None, str | None, str | None]:
    return found.project, found.step_id is None, found.pipeline, found.name, found.step_type
