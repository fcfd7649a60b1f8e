"""From judgements to messages: a rule fires once for a series and resolves once. Pure: a state in, a state and an event out.

The rules of this file:

- a breach fires when the series is not firing already; a breach within the cooldown after the last message is remembered;
  its message is sent with the next breach once the cooldown is over;
- fine resolves when it is newer than what fired, and of another run (or a later attempt of the same step): a sibling that
  went well does not make good what went wrong beside it;
- of what no message was sent, no message says that it resolved.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from xray_server.alerts.judge import Figures, Judgement

Event = Literal["fired", "suppressed", "resolved"]


class SeriesState(msgspec.Struct):
    """Where one rule stands with one series. Times of `_clock_us` are the judge's, of `_at_us` the subject's."""

    firing: bool = False
    notified: bool = msgspec.field(default=False, name="told")  # as it is stored
    since_at_us: int = 0
    started_at_us: int = 0
    run_id: str = ""
    step_id: str | None = None
    attempt: int = 0
    breaches: int = 0
    notified_clock_us: int = msgspec.field(default=0, name="told_clock_us")
    sentence: str = ""


def advance(
    state: SeriesState, found: Figures, judgement: Judgement, *, now_us: int, cooldown_us: int
) -> tuple[SeriesState, Event | None]:
    """The next state, and the event of which a message is sent, if any."""
    if judgement.state == "unsaid":
        return state, None
    at_us = min(found.ended_us, now_us)  # a client whose clock is ahead must not fire for ever
    if judgement.state == "breach":
        cool = state.notified_clock_us == 0 or now_us - state.notified_clock_us >= cooldown_us
        if not state.firing:
            fired = SeriesState(
                firing=True, notified=cool, since_at_us=at_us, started_at_us=found.at_us, run_id=found.run_id, step_id=found.step_id,
                attempt=found.attempt, breaches=1, notified_clock_us=now_us if cool else state.notified_clock_us,
                sentence=judgement.sentence,
            )  # fmt: skip
            return fired, "fired" if cool else "suppressed"
        again = msgspec.structs.replace(state, breaches=state.breaches + 1)
        if not state.notified and cool:
            return msgspec.structs.replace(
                again, notified=True, notified_clock_us=now_us, sentence=judgement.sentence
            ), "fired"
        return again, None
    if not state.firing or not _makes_good(state, found, at_us):
        return state, None
    return SeriesState(notified_clock_us=state.notified_clock_us), "resolved" if state.notified else None


def _makes_good(state: SeriesState, found: Figures, at_us: int) -> bool:
    if found.run_id == state.run_id:
        if found.step_id == state.step_id and found.attempt == state.attempt:
            return True  # more is known now of what fired: it was no breach after all
        return found.step_id == state.step_id and found.attempt > state.attempt
    return at_us >= state.since_at_us
