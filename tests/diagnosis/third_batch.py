"""A third set, written when the first two had been mended, and run once before anything more was changed.

Its score then: right step 10 of 10, false certainty 1 (`prices_of_a_silent_lookup`), controls 4 of 4. That kind is mended.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl

from tests.diagnosis.planted import Batch
from xray_core.capture.run import Run

THIRD = Batch()
Row = dict[str, Any]


def trades(n: int = 36) -> list[Row]:
    return [{"trade_id": f"T{k}", "qty": 10 + k * 7 % 31, "desk": "abc"[k % 3]} for k in range(n)]


@THIRD.fault("settle > match", "code_changed", cause="window_days", seen={"T5": ("rejected", "match", "late")})
def a_nested_step_has_a_shorter_window(run: Run, bad: bool) -> None:
    rows = trades()
    with run.step("book", "retrieve") as step:
        step.set_output_items(rows, key="trade_id")
    days = 2 if bad else 5
    with run.step("settle") as around:
        around.set_input_items(rows, key="trade_id")
        with run.step("match", "filter", metadata={"window_days": days}) as step:
            step.set_input_items(rows, key="trade_id")
            kept = []
            for k, row in enumerate(rows):
                if k % 6 > days:
                    step.reject(row["trade_id"], "late", {"days": k % 6, "window_days": days})
                elif k == 5:
                    step.reject(row["trade_id"], "late", {"days": 9, "window_days": days})
                else:
                    step.accept(row["trade_id"])
                    kept.append(row)
        around.set_output_items(kept, key="trade_id")
    run.set_output(len(kept))


@THIRD.fault("impute", "non_deterministic", cause="qty")
def a_mean_is_taken_over_the_wrong_column(run: Run, bad: bool) -> None:
    frame = pl.DataFrame(trades()).with_columns(qty=pl.when(pl.col("desk") == "b").then(None).otherwise(pl.col("qty")))
    with run.step("read", "retrieve") as step:
        step.set_output_items(frame, key="trade_id")
    with run.step("impute", "transform") as step:
        step.set_input_items(frame, key="trade_id")
        filled = frame.with_columns(qty=pl.col("qty").fill_null(0 if bad else 23))
        step.set_output_items(filled, key="trade_id")
    with run.step("large", "filter") as step:
        kept = step.filter(filled, {"small": pl.col("qty") < 20}, key="trade_id")
    run.set_output(kept.height)


@THIRD.fault("notify", "input_changed", "non_deterministic")
def the_last_batch_is_never_sent(run: Run, bad: bool) -> None:
    rows = trades(40)
    with run.step("pending", "retrieve") as step:
        step.set_output_items(rows, key="trade_id")
    batches = [rows[k : k + 10] for k in range(0, 40, 10)]
    with run.step("notify", "sink") as step:
        sent = [row for batch in batches[: 3 if bad else 4] for row in batch]
        step.set_input_items(sent, key="trade_id")
        step.set_output({"sent": len(sent)})
    run.set_output(len(sent))


@THIRD.fault("summarise", "non_deterministic", cause="output")
def a_model_is_less_sure_today(run: Run, bad: bool) -> None:
    ticket = {"id": "t1", "text": "The app crashes when I pay."}
    with run.step("ticket", "load") as step:
        step.set_output(ticket)
    with run.step("redact") as step:
        step.set_input(ticket)
        step.set_output({**ticket, "text": "The app crashes when I pay."})
    with run.step("summarise", "generate") as step:
        step.set_input({"messages": [{"role": "user", "content": ticket["text"]}], "temperature": 0})
        step.set_output({"text": "Crash at payment" if not bad else "User asks about the app", "tokens": 5})
    with run.step("route", "select") as step:
        step.set_input("Crash at payment" if not bad else "User asks about the app")
        step.decide("queue", selected="general" if bad else "payments", alternatives=["payments" if bad else "general"])
    run.set_output("general" if bad else "payments")


@THIRD.fault("prices", "non_deterministic", shows_at=("quote",))
def prices_of_a_silent_lookup(run: Run, bad: bool) -> None:
    """The lookup tells the question and how many answers it had."""
    with run.step("basket", "load") as step:
        step.set_output({"items": [{"sku": f"k{n}", "n": n + 1} for n in range(8)]})
    with run.step("prices", "lookup") as step:
        step.set_input({"skus": [f"k{n}" for n in range(8)]})
        found = {f"k{n}": 3 + n + (2 if bad and n > 4 else 0) for n in range(8)}
        step.set_output({"found": 8, "total_rows": 8})
    with run.step("quote", "transform") as step:
        step.set_input({"basket": "b1"})
        total = sum((n + 1) * found[f"k{n}"] for n in range(8))
        step.set_output({"total": total})
    run.set_output({"total": total})


@THIRD.fault("vote", "non_deterministic", seen={"m4": ("rejected", "vote", "minority")})
def one_judge_of_three_changes_its_mind(run: Run, bad: bool) -> None:
    names = [f"m{k}" for k in range(9)]
    with run.step("answers", "retrieve") as step:
        step.set_input({"exam": 4})
        step.set_output({name: {"length": len(name) + int(name[1:])} for name in names})
    with run.step("vote", "filter") as step:
        step.set_input({name: {"length": len(name) + int(name[1:])} for name in names})
        for k, name in enumerate(names):
            votes = [k % 2 == 0, k % 3 != 1, k != 4 and not (bad and k in (0, 6))]
            if sum(votes) >= 2:
                step.accept(name, score=sum(votes))
            else:
                step.reject(name, "minority", {"votes": sum(votes)}, score=sum(votes))


@THIRD.fault("backfill", "missing_step")
def a_branch_that_used_to_run(run: Run, bad: bool) -> None:
    rows = trades(12)
    with run.step("today", "retrieve") as step:
        step.set_output_items(rows, key="trade_id")
    if not bad:
        with run.step("backfill", "retrieve") as step:
            extra = [{"trade_id": f"B{k}", "qty": k, "desk": "a"} for k in range(4)]
            step.set_output_items(extra, key="trade_id")
        rows = rows + extra
    with run.step("all") as step:
        step.set_input_items(rows, key="trade_id")
        step.set_output(sum(row["qty"] for row in rows))
    run.set_output(sum(row["qty"] for row in rows))


@THIRD.fault("cap", "code_changed", cause="code_version")
def a_release_in_which_a_cap_is_off_by_one(run: Run, bad: bool) -> None:
    frame = pd.DataFrame(trades(30))
    with run.step("rows", "retrieve", code_version="1") as step:
        step.set_output_items(frame, key="trade_id")
    with run.step("order", "rank", code_version="1") as step:
        step.set_input_items(frame, key="trade_id")
        ranked = frame.sort_values(["qty", "trade_id"], ascending=False)
        step.set_output_items(ranked, key="trade_id")
    with run.step("cap", "select", code_version="2" if bad else "1") as step:
        step.set_input_items(ranked, key="trade_id")
        top = ranked[: 9 if bad else 10]
        step.decide("top", selected=list(top.trade_id), alternatives=list(ranked.trade_id[len(top) :]))
    run.set_output(list(top.trade_id))


@THIRD.fault("dedupe", "non_deterministic", shows_at=("dedupe", "report"))
def a_retry_inserts_twice(run: Run, bad: bool) -> None:
    """The sink is tried again after a time-out; what it writes the second time is there twice."""
    rows = trades(10)
    with run.step("rows", "retrieve") as step:
        step.set_output_items(rows, key="trade_id")
    written = list(rows)
    if bad:
        first = run.open_step_unwritten("dedupe", step_id=f"{run.run_id}-d", code_version="1").open()
        first.set_input_items(rows, key="trade_id")
        first.close("failed", error=TimeoutError("60 s"))
        written += rows[:4]
    step = run.open_step_unwritten(
        "dedupe", step_id=f"{run.run_id}-d", code_version="1", attempt=2 if bad else 1
    ).open()
    step.set_input_items(rows, key="trade_id")
    step.close("completed")
    with run.step("report", "aggregate") as step:
        step.set_input_items(written, key="trade_id")
        step.set_output({"qty": sum(row["qty"] for row in written)})
    run.set_output(sum(row["qty"] for row in written))


@THIRD.fault("agent > search", "non_deterministic", shows_at=("agent > write",))
def a_search_inside_an_agent_tells_but_the_query(run: Run, bad: bool) -> None:
    with run.step("agent", "generate") as around:
        around.set_input({"task": "brief"})
        with run.step("search", "retrieve") as step:
            step.set_input({"query": "rates"})
            found = ["ECB holds" if not bad else "ECB cuts"]
        with run.step("write", "generate") as step:
            step.set_input({"query": "rates", "n": 1})
            step.set_output({"brief": found[0]})
        around.set_output({"brief": found[0]})
    run.set_output({"brief": found[0]})


@THIRD.control()
def two_attempts_that_stop_elsewhere(run: Run, bad: bool) -> None:
    names = [f"n{k}" for k in range(15)]
    stop = 9 if bad else 4
    for attempt, part in ((1, names[:stop]), (2, names[stop:])):
        step = run.open_step_unwritten("load", step_id=f"{run.run_id}-l", code_version="1", attempt=attempt).open()
        for name in part:
            step.accept(name)
        step.close(*(("failed",) if attempt == 1 else ("completed",)), error=OSError("reset") if attempt == 1 else None)
    with run.step("sum") as step:
        step.set_input_items(names)
        step.set_output(15)
    run.set_output(15)


@THIRD.control()
def where_it_was_written_is_told(run: Run, bad: bool) -> None:
    with run.step("store", "sink") as step:
        step.set_input_items(trades(5), key="trade_id")
        step.set_output({"uri": f"s3://lake/{run.run_id}/part-0.parquet", "rows": 5, "took_ms": 3 + 40 * bad})
    run.set_output({"uri": f"s3://lake/{run.run_id}/part-0.parquet"})


@THIRD.control()
def columns_in_another_order(run: Run, bad: bool) -> None:
    frame = pd.DataFrame(trades(12))
    frame = frame[["desk", "qty", "trade_id"]] if bad else frame
    with run.step("read", "retrieve") as step:
        step.set_output_items(frame, key="trade_id")
    with run.step("sum", "aggregate") as step:
        step.set_input_items(frame, key="trade_id")
        step.set_output({"qty": float(frame.qty.sum())})
    run.set_output(float(frame.qty.sum()))


@THIRD.control()
def a_log_line_of_each_run(run: Run, bad: bool) -> None:
    with run.step("score", "score") as step:
        for k in range(6):
            step.accept(f"s{k}", None, {"worker": f"w{k % 2 + bad}", "latency_ms": 3 * k + bad}, score=k)
    with run.step("pick", "select") as step:
        step.decide("best", selected="s5", alternatives=[f"s{k}" for k in range(5)])
    run.set_output("s5")
