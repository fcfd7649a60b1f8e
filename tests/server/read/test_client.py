"""`from xray_core import Client`: typed answers of a real server.

Tests read/runs.py, and of the core query/client.py.
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.live import Live
from xray_core import ApiError, Client, NotFoundError


def test_every_question_has_a_typed_answer(live: Live) -> None:
    pipeline = f"client-{uuid4()}"
    ids = []
    with live.xray(pipeline) as xray:
        for limit in (100, 50):
            with xray.run() as run, run.step("filter", step_type="filter") as step:
                step.set_input_items(["p7", "p9"])
                step.set_metadata("limit", limit)
                for item, price in (("p7", 150), ("p9", 80)):
                    if price > limit:
                        step.reject(item, "price_too_high", {"price": price})
                    else:
                        step.accept(item)
            ids.append(run.run_id)
    with Client(live.url) as client:
        assert client.why("p9", pipeline=pipeline).reason == "price_too_high"
        assert client.why("p9", run=ids[0]).journey[0].outcome == "accepted"
        diff = client.diff(ids[1])
        assert diff.parted_at is not None
        assert (diff.a, diff.parted_at.kind, diff.flipped[0].item_id) == (ids[0], "code_changed", "p9")
        assert [run.run_id for run in client.runs(pipeline=pipeline)] == ids[::-1]
        one = client.run(ids[0])
        assert (one.status, one.steps[0].name, one.steps[0].ledger["rejected"]) == ("completed", "filter", 1)
        assert len(client.steps(pipeline=pipeline, rejection_rate_gt=0.9)) == 1
        found = client.decisions({"price_gt": 100}, pipeline=pipeline)
        assert {each.item_id for each in found} == {"p7"}
        assert found.estimate is not None
        assert found.estimate.total == 2.0
        assert sum(trend.items_in for trend in client.trends(pipeline=pipeline)) == 4
        assert [each.outcome for each in client.items("p9", pipeline=pipeline)] == ["rejected", "accepted"]
        assert client.health()["status"] == "ok"


def test_errors_are_of_x_rays_own_tree(live: Live) -> None:
    with Client(live.url) as client:
        with pytest.raises(NotFoundError, match="no run 'nowhere'"):
            client.why("a", run="nowhere")
        with pytest.raises(ApiError, match="colour"):
            client.runs(colour="red")
    with Client("http://127.0.0.1:9") as client, pytest.raises(ApiError, match="xray serve"):
        client.health()
