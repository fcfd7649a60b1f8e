"""What a user's tests stand on: answers without a server, the same as the server's.

Tests testing.py and pytest_plugin.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_core import NotFoundError, XRay
from xray_core.testing import Captured, capture


def shop(xray: XRay, limit: int = 100) -> str:
    with xray.run(input="bottle") as run, run.step("filter") as step:
        step.set_input_items(["p1", "p7", "p9"])
        step.set_metadata("limit", limit)
        for item, price in (("p1", 20), ("p7", 150), ("p9", 99)):
            if price > limit:
                step.reject(item, "price_too_high", {"price": price, "limit": limit})
            else:
                step.accept(item)
    return run.run_id


def test_a_pipeline_with_a_client_of_its_own_is_answered_from_memory(tmp_path: Path) -> None:
    own = XRay("shop", spool_dir=tmp_path / "spool", api_url="http://127.0.0.1:9")
    with capture() as result:
        shop(own)
    assert result.why("p7").reason == "price_too_high"
    assert result.why("p7").sentence == "p7 was rejected at filter: price_too_high (price 150; limit 100)"
    assert result.outcome("p1") == "accepted"
    assert result.outcome("nobody") == "never_entered"
    assert (result.ledger("filter").input, result.ledger("filter").rejected) == (3, 1)
    assert result.reasons("filter") == {"price_too_high": 1}
    own.close(0)
    assert not list((tmp_path / "spool").rglob("*.seg")), "a test left records for a server"


def test_the_fixture_captures_the_whole_test(xray_result: Captured) -> None:
    a, b = shop(xray_result.xray), shop(xray_result.xray, limit=50)
    assert xray_result.run_ids == [a, b]
    assert xray_result.why("p9", run=a).outcome == "accepted"
    diff = xray_result.diff(a, b)
    assert diff.parted_at is not None
    assert (diff.parted_at.step, diff.parted_at.kind) == ("filter", "code_changed")
    assert [flip.item_id for flip in diff.flipped] == ["p9"]


def test_asking_for_what_is_not_there_says_what_is(xray_result: Captured) -> None:
    with pytest.raises(NotFoundError, match="nothing was captured"):
        xray_result.why("p1")
    shop(xray_result.xray)
    with pytest.raises(NotFoundError, match="no step 'rank' was captured; there are: filter"):
        xray_result.ledger("rank")


def test_after_the_block_capture_goes_to_the_spool_again(tmp_path: Path) -> None:
    own = XRay("shop", spool_dir=tmp_path / "spool", api_url="http://127.0.0.1:9")
    with capture() as result:
        pass
    shop(own)
    assert result.records == []
    own.close(0)
    assert any(path.is_file() and path.stat().st_size for path in (tmp_path / "spool").rglob("*"))


def test_a_step_of_an_earlier_run_that_is_told_late_is_not_the_last_run(tmp_path: Path) -> None:
    own = XRay("shop", spool_dir=tmp_path / "spool", api_url="http://127.0.0.1:9")
    with capture():
        earlier = shop(own)
    with capture() as result:
        shop(own)
        late = own.attach_run(earlier, "shop").open_step("notify", step_id="notify")
        late.close()
    assert result.reasons("filter") == {"price_too_high": 1}
    assert len(result.run_ids) == 2
    assert result.ledger("notify", earlier).rejected in (None, 0)
    own.close(0)
