"""What a spool lost: counted every time, logged once."""

from __future__ import annotations

from xray_core.spool.losses import Losses


def test_drops_are_counted_each_time_and_noticed_once() -> None:
    losses = Losses()
    losses.drop("details", 3, "the disk is full")
    losses.drop("details", 2, "the disk is full")
    losses.drop("counts", 0, "nothing was lost")
    assert losses.counters == {"dropped_details": 5}
    assert losses.take_notices() == ["records were dropped: the disk is full"]
    assert losses.take_notices() == []


def test_a_forked_child_begins_with_no_losses_and_does_not_repeat_what_was_logged() -> None:
    losses = Losses()
    losses.count("degraded")
    losses.notice_once("degraded", "slow")
    losses.reset()
    assert losses.counters == {}
    losses.notice_once("degraded", "slow")
    losses.notice("a record could not be kept")
    assert losses.take_notices() == ["a record could not be kept"]
