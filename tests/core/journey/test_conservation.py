"""What came out of a step and went into none after it, and what went in twice, from captured runs."""

from __future__ import annotations

import pytest

from xray_core.testing import capture


def test_items_lost_between_two_steps_are_counted_and_named() -> None:
    items = [f"i{n}" for n in range(10)]
    with capture() as result:
        with result.xray.run() as run:
            with run.step("fetch") as step:
                step.set_output_items(items)
            with run.step("norm") as step:
                step.set_input_items(items[:7])
                step.set_output_items(items[:7])
            with run.step("pick") as step:
                step.decide("best", selected=items[0], alternatives=items[1:7])
    (gap,) = result.gaps(run.run_id)
    assert (gap.kind, gap.step, gap.next, gap.n, gap.of) == ("lost_between", "fetch", "norm", 3, 10)
    assert gap.sentence == "3 of 10 items that came out of fetch did not go into norm or a step after it: i7, i8, i9"


def test_losses_that_duplicates_hide_in_the_counts_are_told_apart() -> None:
    items = [f"i{n}" for n in range(40)]
    with capture() as result:
        with result.xray.run() as run:
            with run.step("fetch") as step:
                step.set_output_items(items)
            with run.step("sum") as step:
                step.set_input_items(items[:30] + items[:10])
                step.set_output_items(items[:30] + items[:10])
    lost, twice = result.gaps(run.run_id)
    assert (lost.kind, lost.n, lost.of) == ("lost_between", 10, 40)
    assert (twice.kind, twice.step, twice.n, twice.of) == ("duplicated", "sum", 10, 40)
    assert twice.sentence.startswith("10 items of the 40 that went into sum went in more than once: i0, i1")


def test_what_branches_share_out_among_them_is_not_lost() -> None:
    items = [f"i{n}" for n in range(12)]
    with capture() as result:
        with result.xray.run() as run:
            with run.step("load") as step:
                step.set_output_items(items)
            for name, part in (("a", items[:6]), ("b", items[6:10]), ("c", items[10:])):
                with run.step(name) as step:
                    step.set_input_items(part)
                    step.set_output_items(part)
            for index in range(3):
                shard = run.open_step("shard", map_index=index)
                shard.set_input_items(items[index::3])
                shard.accept_many(items[index::3])
                shard.close()
            with run.step("merge") as step:
                step.set_input_items(items)
    assert result.gaps(run.run_id) == []


def test_steps_of_other_things_and_steps_that_cannot_tell_are_not_called_losses() -> None:
    with capture() as result:
        with result.xray.run() as run:
            with run.step("documents") as step:
                step.set_output_items(["d1", "d2"])
            with run.step("chunks") as step:
                step.set_input_items([f"d{d}-{n}" for d in (1, 2) for n in range(3)])
                step.accept_many([f"d{d}-{n}" for d in (1, 2) for n in range(3)])
            with run.step("counted", capture="minimal") as step:
                step.reject("d1-0", "bad")
    assert result.gaps(run.run_id) == []


@pytest.mark.parametrize("size", [3_000, 10_000])
def test_losses_among_fingerprints_are_counted(size: int) -> None:
    items = [f"i{n}" for n in range(size)]
    with capture() as result:
        with result.xray.run() as run:
            with run.step("load") as step:
                step.set_output_items(items)
            with run.step("notify"):
                pass
            with run.step("filter") as step:
                step.set_input_items(items[:-77])
                step.accept_many(items[:-77])
    (gap,) = result.gaps(run.run_id)
    assert (gap.n, gap.of, gap.through) == (77, size, ["notify"])
    assert "in between, notify tells nothing about items" in gap.sentence
