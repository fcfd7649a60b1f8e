"""Alerts of one server: wires the watch, the judging and the delivery to a store, and answers what the API and page ask.

Knows no HTTP and no SQL.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_core.model import new_id
from xray_server.alerts import apprise_target
from xray_server.alerts.delivery import Deliverer
from xray_server.alerts.dry_run import DryRun, dry_run
from xray_server.alerts.engine import Engine
from xray_server.alerts.messages import test_body
from xray_server.alerts.rules import FOREVER_US, MAX_RULES, Rule, StoredRule
from xray_server.alerts.series import SeriesState
from xray_server.alerts.store import AlertStore, Delivery, PastEvent
from xray_server.alerts.targets import foreseen_refusal, is_webhook, masked
from xray_server.alerts.watch import Watch
from xray_server.errors import TargetRefusedError, TooManyRulesError
from xray_server.store import Store
from xray_server.times import iso

Json = dict[str, Any]
MAX_SERIES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Attributes:
    public_url: where people reach this server; links in messages begin with it.
    allow_private: whether targets may be on private addresses (XRAY_ALERTS_ALLOW_PRIVATE).
    first_retry_s: the pause after a first failed delivery; it doubles with each.
    """

    public_url: str = "http://127.0.0.1:8000"
    allow_private: bool = False
    first_retry_s: float = 1.0


class Alerts:
    """Everything about alerts of one store. Made before the first write; `start` begins to judge, `close` ends it."""

    def __init__(
        self,
        store: Store,
        alerts: AlertStore,
        settings: AlertSettings,
        *,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._store, self._alerts, self._clock_us = store, alerts, clock_us
        self.settings = settings
        self._lock = threading.Lock()
        self._watch = Watch()
        self._deliverer = Deliverer(
            alerts,
            secrets=lambda: {each.rule_id: each.rule.secret or "" for each in alerts.rules()},
            allow_private=settings.allow_private,
            clock_us=clock_us,
            first_pause_s=settings.first_retry_s,
        )
        self._engine = Engine(
            store, alerts, self._watch, base_url=settings.public_url.rstrip("/"), on_messages=self._deliverer.wake, clock_us=clock_us
        )  # fmt: skip
        self._engine.reload()
        alerts.watch(self._watch.select)

    def start(self) -> None:
        """Start judging and delivering. Once."""
        self._deliverer.start()
        self._engine.start()
        self._engine.wake()  # what an earlier server left to be judged

    def committed(self) -> None:
        """Records were committed. From any thread; does not block."""
        self._engine.wake()

    def close(self) -> None:
        """Stop both threads; what is not delivered waits in the store."""
        self._engine.close()
        self._deliverer.close()
        self._alerts.watch(None)

    def add(self, project: str, rule: Rule) -> Json:
        """Keep a rule; the answer holds its signing secret, this once, and `warnings` of targets that cannot be reached.

        Raises:
            TooManyRulesError: the project has 500.
            TargetRefusedError: nothing can deliver to such an address.
        """
        _check_targets(rule.to)
        if rule.secret is None:
            rule = rule.model_copy(update={"secret": secrets.token_hex(32)})
        stored = StoredRule(rule_id=new_id(), project=project, created_us=self._clock_us(), rule=rule)
        with self._lock:
            if sum(each.project == project for each in self._alerts.rules()) >= MAX_RULES:
                raise TooManyRulesError(f"a project has {MAX_RULES} rules at most; remove some")
            self._alerts.add_rule(stored)
            self._engine.reload()
        return {**self._rule_json(stored, []), "secret": rule.secret, "warnings": self._warnings(rule)}

    def edit(self, project: str, rule_id: str, rule: Rule) -> Json | None:
        """Put a rule in the place of another; None when there is none. A target that is given masked, as `rules` shows it, and
        a secret that is not given stay what they were, and a muted one stays muted. What was firing fires on, unless the rule judges otherwise now.

        Raises:
            TargetRefusedError: nothing can deliver to such an address.
        """
        with self._lock:
            old = self._stored(project, rule_id)
            if old is None:
                return None
            to = _unmasked(rule.to, old.rule.to)
            _check_targets([target for target in to if target not in old.rule.to])
            muted_until_us = old.rule.muted_until_us if rule.muted_until_us is None else rule.muted_until_us
            kept = {"to": to, "secret": rule.secret or old.rule.secret, "muted_until_us": muted_until_us}
            rule = rule.model_copy(update=kept)
            stored = old.model_copy(update={"rule": rule})
            self._alerts.replace_rule(stored, forget_states=rule.subject != old.rule.subject)
            self._engine.reload()
        return {**self._shown(stored), "warnings": self._warnings(rule)}

    def mute(self, project: str, rule_id: str, for_s: float | None) -> Json | None:
        """Send no message of a rule for so long (None: until it is unmuted; 0: send them again); None when there is none. What
        fires meanwhile is in the history.
        """
        with self._lock:
            old = self._stored(project, rule_id)
            if old is None:
                return None
            until_us = FOREVER_US if for_s is None else self._clock_us() + int(for_s * 1e6)
            rule = old.rule.model_copy(update={"muted_until_us": until_us if for_s != 0 else None})
            stored = old.model_copy(update={"rule": rule})
            self._alerts.replace_rule(stored, forget_states=False)
            self._engine.reload()
        return self._shown(stored)

    def send_test(self, project: str, rule_id: str) -> list[Json] | None:
        """Send a test message to each target of a rule, now, once; None when there is no rule. Blocks until all were tried."""
        stored = self._stored(project, rule_id)
        if stored is None:
            return None
        now_us, event_id = self._clock_us(), new_id()
        body = test_body(stored, event_id=event_id, now_us=now_us, base_url=self.settings.public_url.rstrip("/"))
        found = []
        for target in stored.rule.to:
            delivery = Delivery(0, event_id, project, rule_id, target, 0, now_us, body)
            why = self._deliverer.try_now(delivery)
            found.append({"to": masked(target), "sent": why is None, "note": why})
        return found

    def _warnings(self, rule: Rule) -> list[str]:
        """What is foreseen not to be delivered."""
        unreachable = [foreseen_refusal(target, allow_private=self.settings.allow_private) for target in rule.to]
        return [f"nothing will be delivered to {why}" for why in unreachable if why is not None]

    def _stored(self, project: str, rule_id: str) -> StoredRule | None:
        return next((e for e in self._alerts.rules() if e.project == project and e.rule_id == rule_id), None)

    def _shown(self, stored: StoredRule) -> Json:
        firing = self._alerts.firing(stored.project)
        return self._rule_json(stored, [(s, state) for (rule, s), state in firing.items() if rule == stored.rule_id])

    def remove(self, project: str, rule_id: str) -> bool:
        """Forget a rule; False when there is none."""
        with self._lock:
            gone = self._alerts.remove_rule(project, rule_id)
            self._engine.reload()
        return gone

    def rules(self, project: str) -> list[Json]:
        """The rules of a project with what is firing; no secrets."""
        firing: dict[str, list[tuple[str, SeriesState]]] = {}
        for (rule_id, series), state in self._alerts.firing(project).items():
            firing.setdefault(rule_id, []).append((series, state))
        return [
            self._rule_json(each, firing.get(each.rule_id, []))
            for each in self._alerts.rules()
            if each.project == project
        ]

    def _rule_json(self, stored: StoredRule, firing: list[tuple[str, SeriesState]]) -> Json:
        fields = stored.rule.model_dump(exclude={"secret", "to", "muted_until_us"})
        now_us, muted_until_us = self._clock_us(), stored.rule.muted_until_us
        series = [
            {"run_id": state.run_id, "step_id": state.step_id, "attempt": state.attempt, "since": iso(state.since_at_us),
             "breaches": state.breaches, "told": state.notified, "sentence": state.sentence}
            for _, state in firing[:MAX_SERIES_SHOWN]
        ]  # fmt: skip
        return {
            "rule_id": stored.rule_id,
            **fields,
            "to": [masked(target) for target in stored.rule.to],
            "says": stored.rule.words(),
            "created_at": iso(stored.created_us),
            "state": "firing" if firing else "ok",
            "muted": stored.rule.muted(now_us),
            "muted_until": iso(muted_until_us) if stored.rule.muted(now_us) and muted_until_us != FOREVER_US else None,
            "firing_count": len(firing),
            "firing": series,
        }

    def find(self, project: str, wanted: str) -> Rule | None:
        """The rule of an id."""
        stored = self._stored(project, wanted)
        return None if stored is None else stored.rule

    def shown(self, project: str, wanted: str) -> Json | None:
        """The rule of an id, as `rules` shows it."""
        stored = self._stored(project, wanted)
        return None if stored is None else self._shown(stored)

    def test(self, project: str, rule: Rule, *, since_us: int, until_us: int, other: Rule | None = None) -> DryRun:
        """When the rule would have fired, and what the `other`, which has another bound, would have judged otherwise."""
        return dry_run(self._store, project, rule, since_us=since_us, until_us=until_us, other=other)

    def history(
        self, project: str, *, limit: int, before: int | None, rule_id: str | None = None
    ) -> tuple[list[Json], int | None]:
        """Past events, newest first, with what became of their deliveries."""
        past, following = self._alerts.history(project, limit=limit, before=before, rule_id=rule_id)
        return [_past_json(each) for each in past], following

    def health(self) -> Json:
        """How far behind judging and delivery are, and what they had to let go. For the health page."""
        return {
            "waiting_notes": self._alerts.note_count(),
            "judged": self._engine.judged,
            "too_late": self._engine.too_late,
            "passed_over": self._watch.passed_over,
            "sent": self._deliverer.sent,
            "retried": self._deliverer.retried,
            "given_up": self._deliverer.given_up + self._engine.undeliverable,
        }


def _unmasked(given: Sequence[str], known: Sequence[str]) -> list[str]:
    """The targets that were given; each that is masked as what it is masked of. Several may look alike: in their order."""
    behind: dict[str, list[str]] = {}
    for target in known:
        behind.setdefault(masked(target), []).append(target)
    return [behind[target].pop(0) if behind.get(target) else target for target in given]


def _check_targets(targets: Sequence[str]) -> None:
    """Refuse addresses that nothing can deliver to.

    Raises:
        TargetRefusedError: naming the address, masked.
    """
    for target in targets:
        if masked(target) == target:
            raise TargetRefusedError(f"{target} is an address as it is shown, masked: give it whole")
        if not is_webhook(target):
            try:
                apprise_target.check(target)
            except TargetRefusedError as error:
                raise TargetRefusedError(f"{masked(target)}: {error}") from None


def _past_json(past: PastEvent) -> Json:
    return {
        **past.event.body,
        "deliveries": [
            {"to": masked(each.target), "status": each.status, "tries": each.tries, "note": each.note} for each in past.deliveries
        ],
    }  # fmt: skip
