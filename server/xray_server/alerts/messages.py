"""What a message says: the body that a webhook is sent, and the few lines that people read. Knows no delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import xxhash

from xray_core.addresses import path_segment
from xray_server.alerts.judge import Figures, Judgement
from xray_server.alerts.rules import StoredRule
from xray_server.alerts.series import SeriesState
from xray_server.alerts.store import Event
from xray_server.store import Store
from xray_server.times import iso

TOLD_ITEMS: Final = 3  # items whose why is linked
_TITLES: Final = {
    "fired": "FIRING",
    "resolved": "Resolved",
    "suppressed": "Firing (cooling down, not sent)",
    "test": "Test",
}


def event_of(
    kind: str,
    stored: StoredRule,
    found: Figures,
    judgement: Judgement,
    state: SeriesState,
    *,
    now_us: int,
    base_url: str,
    items: Sequence[str] = (),
) -> Event:
    """The event of a rule that fired or resolved. Its id follows from what it is about: judging twice tells once.

    Args:
        state: of the series, before a resolve and after a fire.
        base_url: where people reach this server, without a slash at the end.
        items: ids of items that show it; their why is linked.
    """
    rule = stored.rule
    key = f"{stored.rule_id}\x1f{kind}\x1f{found.series}\x1f{state.run_id}\x1f{state.step_id}\x1f{state.attempt}\x1f{state.since_at_us}"
    event_id = xxhash.xxh3_128_hexdigest(key.encode())
    run_link = f"{base_url}/ui/runs/{path_segment(found.run_id)}"
    link = run_link
    if found.step_id is not None:
        link = f"{run_link}/steps/{path_segment(found.step_id)}?attempt={found.attempt}"
    body: dict[str, Any] = {
        "event_id": event_id,
        "kind": kind,
        "at": iso(now_us),
        "title": f"{_TITLES[kind]}: {rule.name}",
        "rule": {"rule_id": stored.rule_id, "name": rule.name, "metric": rule.metric, "says": rule.words()},
        "project": stored.project,
        "pipeline": found.pipeline,
        "run_id": found.run_id,
        "step_id": found.step_id,
        "attempt": found.attempt if found.step_id is not None else None,
        "step": found.name,
        "step_type": found.step_type,
        "status": found.status,
        "ended_at": iso(found.ended_us),
        "value": judgement.value,
        "link": link,
        "why": {
            "sentence": judgement.sentence,
            "ledger": {"input": found.input, "accepted": found.output, "rejected": found.rejected, "unaccounted": found.unaccounted}
            if found.step_id is not None
            else None,
            "reasons": dict(sorted(found.reasons.items(), key=lambda each: (-each[1], each[0]))[:10]),
            "items": [{"item_id": item, "link": f"{run_link}/items/{path_segment(item)}"} for item in items],
        },
        "fired": {"run_id": state.run_id, "since": iso(state.since_at_us), "breaches": state.breaches, "sentence": state.sentence},
    }  # fmt: skip
    targets = () if kind == "suppressed" or rule.muted(now_us) else rule.to
    return Event(event_id, stored.project, stored.rule_id, kind, now_us, body, targets)


def test_body(stored: StoredRule, *, event_id: str, now_us: int, base_url: str) -> dict[str, Any]:
    """A message that says that messages of a rule arrive. Its shape is that of all others."""
    rule = stored.rule
    ledger = {"input": 0, "accepted": 0, "rejected": 0, "unaccounted": 0}
    return {
        "event_id": event_id,
        "kind": "test",
        "at": iso(now_us),
        "title": f"{_TITLES['test']}: {rule.name}",
        "rule": {"rule_id": stored.rule_id, "name": rule.name, "metric": rule.metric, "says": rule.words()},
        "project": stored.project,
        "pipeline": rule.pipeline,
        "run_id": "test",
        "step_id": None,
        "attempt": None,
        "step": rule.step,
        "step_type": rule.step_type,
        "status": "completed",
        "ended_at": iso(now_us),
        "value": None,
        "link": f"{base_url}/ui/alerts/{path_segment(stored.rule_id)}",
        "why": {"sentence": "A test: messages of this rule arrive here.", "ledger": ledger, "reasons": {}, "items": []},
        "fired": {"run_id": None, "since": None, "breaches": 0, "sentence": None},
    }


def telling_items(store: Store, stored: StoredRule, found: Figures) -> list[str]:
    """Some rejected items of the step whose details were kept: those of the rule's reason, else of its commonest."""
    if found.step_id is None or not found.rejected:
        return []
    samples = store.samples(stored.project, found.run_id, [(found.step_id, found.attempt)])
    reason = stored.rule.reason or max(found.reasons, key=lambda name: found.reasons[name], default=None)
    rejected = [each for each in samples.get((found.step_id, found.attempt), ()) if each["outcome"] == "rejected"]
    rejected.sort(key=lambda each: each["reason"] != reason)
    return list(dict.fromkeys(each["item_id"] for each in rejected))[:TOLD_ITEMS]


def text_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """Title and text, for channels that people read."""
    place = " / ".join(name for name in (body["pipeline"], body["step"]) if name) or body["run_id"]
    lines = [body["why"]["sentence"]]
    if body["kind"] == "resolved" and body["fired"]["sentence"]:
        lines.append(f"It had fired for: {body['fired']['sentence']}")
    lines.append(f"{place}, run {body['run_id']}, {body['ended_at']}")
    lines.append(body["link"])
    lines += [f"why {item['item_id']}: {item['link']}" for item in body["why"]["items"]]
    lines.append(f"Rule: {body['rule']['says']}")
    return body["title"], "\n".join(lines)
