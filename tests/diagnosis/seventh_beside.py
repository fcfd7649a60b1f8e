"""What goes beside the decision, of the seventh batch: request ids, times and durations in what steps put out, and settings, models
and flags that reach a step unseen.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from tests.diagnosis.planted import Batch
from xray_core import XRay
from xray_core.capture.run import Run

BESIDE = Batch()
xray = XRay("seventh")
Row = dict[str, Any]

HOTELS = [{"id": f"h{n}", "stars": n % 5, "price": 50 + n * 9 % 40} for n in range(8)]


def loaded() -> list[Row]:
    """Rows as a service gives them."""
    now = datetime.now(timezone.utc)
    return [{**hotel, "fetched_at": now.isoformat(), "latency_ms": time.perf_counter()} for hotel in HOTELS]


def ranked(run: Run, by: str) -> None:
    with run.step("rank", step_type="rank") as step:
        step.set_input_items(HOTELS, key="id")
        best = sorted(HOTELS, key=lambda hotel: (-hotel[by], hotel["id"]))[:3]
        for hotel in best:
            step.accept(hotel["id"], score=hotel[by])
    run.set_output([hotel["id"] for hotel in best])


# What is another in every run ----------------------------------------------------------------------------------------


@BESIDE.fault("parse", "non_deterministic")
def an_answer_has_a_request_id(run: Run, bad: bool) -> None:
    @xray.step
    def ask(question: str) -> Row:
        return {"text": "hello", "request_id": uuid.uuid4().hex}

    @xray.step
    def parse(answer: Row) -> Row:
        return {"said": answer["text"] + ("!" if bad else ""), "at": time.time()}

    run.set_output(parse(ask("who?"))["said"])


@BESIDE.fault("ask", "non_deterministic")
def an_answer_with_a_request_id_is_another(run: Run, bad: bool) -> None:
    @xray.step
    def ask(question: str) -> Row:
        return {"text": "bye" if bad else "hello", "request_id": uuid.uuid4().hex}

    @xray.step
    def parse(answer: Row) -> Row:
        return {"said": answer["text"], "at": time.time()}

    run.set_output(parse(ask("who?"))["said"])


@BESIDE.fault("answers > ask", "non_deterministic")
def one_of_several_answers_is_another(run: Run, bad: bool) -> None:
    @xray.step
    def ask(question: str) -> Row:
        text = question.upper() if bad and question == "b" else question
        return {"text": text, "request_id": uuid.uuid4().hex, "usage": {"tokens": 7, "latency_ms": time.perf_counter()}}

    @xray.step
    def answers(questions: list[str]) -> list[Row]:
        return [ask(question) for question in questions]

    @xray.step
    def joined(several: list[Row]) -> str:
        return " ".join(each["text"] for each in several)

    run.set_output(joined(answers(["a", "b", "c"])))


@BESIDE.fault("cheap", "non_deterministic")
def rows_tell_when_they_were_fetched(run: Run, bad: bool) -> None:
    @xray.step
    def load() -> list[Row]:
        return loaded()

    @xray.step(step_type="filter")
    def cheap(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["price"] < (60 if bad else 75)]

    run.set_output([row["id"] for row in cheap(load())])


@BESIDE.fault("cheap", "non_deterministic", "code_changed", cause="limit")
def items_tell_when_they_were_fetched(run: Run, bad: bool) -> None:
    rows, limit = loaded(), 60 if bad else 75
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(rows, key="id")
    kept = []
    with run.step("cheap", step_type="filter") as step:
        step.set_input_items(rows, key="id")
        for row in rows:
            if row["price"] < limit:
                step.accept(row["id"], value=row["price"], limit=limit)
                kept.append(row["id"])
            else:
                step.reject(row["id"], "too_dear", value=row["price"], limit=limit)
    run.set_output(kept)


@BESIDE.fault("mean", "non_deterministic")
def a_frame_has_a_column_of_times(run: Run, bad: bool) -> None:
    @xray.step
    def load() -> pd.DataFrame:
        return pd.DataFrame(HOTELS).assign(loaded_at=pd.Timestamp.now())

    @xray.step
    def mean(rows: pd.DataFrame) -> float:
        return float(rows["stars"].median() if bad else rows["stars"].mean())

    run.set_output(mean(load()))


@dataclass
class Context:
    run_id: str
    started: datetime
    pid: int


@BESIDE.fault("total", "non_deterministic")
def a_context_goes_through_all_steps(run: Run, bad: bool) -> None:
    @xray.step
    def context() -> Context:
        return Context(run.run_id, datetime.now(timezone.utc), os.getpid() + bad)

    @xray.step
    def load(given: Context) -> list[Row]:
        return [dict(hotel) for hotel in HOTELS]

    @xray.step
    def total(given: Context, rows: list[Row]) -> int:
        return sum(row["price"] for row in rows) * (1 + bad)

    given = context()
    run.set_output(total(given, load(given)))


@BESIDE.fault("assign", "non_deterministic")
def a_worker_is_what_was_decided(run: Run, bad: bool) -> None:
    @xray.step
    def load() -> list[Row]:
        return [{"id": f"shift-{n}", "hours": 4 + n} for n in range(3)]

    @xray.step
    def assign(rows: list[Row]) -> list[Row]:
        return [{**row, "worker": ("ann", "bob", "cy")[(n + bad) % 3]} for n, row in enumerate(rows)]

    run.set_output([row["worker"] for row in assign(load())])


@BESIDE.control()
def rows_have_other_times(run: Run, bad: bool) -> None:
    @xray.step
    def load() -> list[Row]:
        return loaded()

    @xray.step
    def total(rows: list[Row]) -> int:
        return sum(row["price"] for row in rows)

    run.set_output(total(load()))


@BESIDE.control()
def a_file_is_written_to_a_temporary_folder(run: Run, bad: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:

        @xray.step
        def save(rows: list[int]) -> Path:
            path = Path(folder) / "rows.json"
            path.write_text(json.dumps(rows))
            return path

        @xray.step
        def read(path: Path) -> list[int]:
            return [int(each) for each in json.loads(path.read_text())]

        run.set_output(len(read(save([1, 2]))))


@BESIDE.control()
def answers_have_ids_of_their_own(run: Run, bad: bool) -> None:
    @xray.step
    def ask(questions: list[str]) -> list[Row]:
        return [
            {"text": question, "request_id": uuid.uuid4().hex, "created": int(time.time())} for question in questions
        ]

    @xray.step
    def joined(several: list[Row]) -> str:
        return " ".join(each["text"] for each in several)

    run.set_output(joined(ask(["a", "b", "c"])))


# Ids that are made up in each run -------------------------------------------------------------------------------------


def chunks(document: str) -> list[Row]:
    return [{"chunk_id": str(uuid.uuid4()), "text": text} for text in document.split()]


@BESIDE.fault("score", "non_deterministic", cause="columns.s")
def chunks_have_ids_of_their_own(run: Run, bad: bool) -> None:
    @xray.step
    def score(rows: list[Row]) -> list[Row]:
        return [{**row, "s": len(row["text"]) * (-1 if bad else 1)} for row in rows]

    @xray.step
    def best(rows: list[Row]) -> str:
        return str(max(rows, key=lambda row: row["s"])["text"])

    run.set_output(best(score(xray.step(chunks)("a bbb cc"))))


@BESIDE.control()
def chunks_have_other_ids(run: Run, bad: bool) -> None:
    @xray.step
    def longest(rows: list[Row]) -> str:
        return str(max(rows, key=lambda row: len(row["text"]))["text"])

    run.set_output(longest(xray.step(chunks)("a bbb cc")))


@BESIDE.fault("parse", "non_deterministic")
def a_chat_completion_has_an_id(run: Run, bad: bool) -> None:
    @xray.step
    def chat(prompt: str) -> Row:
        made = {"id": f"chatcmpl-Zz9{uuid.uuid4().hex[:24]}", "created": int(time.time())}
        return {**made, "model": "small", "choices": [{"index": 0, "text": "yes 7"}]}

    @xray.step
    def parse(answer: Row) -> int:
        return int(answer["choices"][0]["text"].split()[1]) + bad

    run.set_output(parse(chat("how many?")))


PEOPLE = [{"customer_id": f"c9bf9e57-1685-4c89-bafb-ff5af830be8{n}", "spent": n} for n in range(6)]


@BESIDE.fault("pick", "non_deterministic")
def a_customer_whose_id_is_random_is_picked(run: Run, bad: bool) -> None:
    @xray.step
    def load() -> list[Row]:
        return [dict(person) for person in PEOPLE]

    @xray.step
    def pick(rows: list[Row]) -> Row:
        best = max(rows, key=lambda row: row["spent"] * (-1 if bad else 1))
        return {"customer_id": best["customer_id"], "action": "call"}

    run.set_output(pick(load()))


@BESIDE.fault("load", "non_deterministic")
def a_path_tells_the_run(run: Run, bad: bool) -> None:
    @xray.step
    def export(table: str) -> str:
        return f"s3://bucket/{run.run_id}/{table}.parquet"

    @xray.step
    def load(path: str) -> list[Row]:
        return [dict(hotel) for hotel in HOTELS[: 7 if bad else 8]]

    run.set_output(len(load(export("hotels"))))


# What reaches a step unseen ------------------------------------------------------------------------------------------


@BESIDE.fault("config", "non_deterministic", cause="by")
def a_setting_is_read_after_the_data(run: Run, bad: bool) -> None:
    by = "price" if bad else "stars"
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(HOTELS, key="id")
    with run.step("config") as step:
        step.set_input("rank.toml")
        step.set_output({"by": by})
    ranked(run, by)


@BESIDE.fault("bucket", "non_deterministic")
def a_user_is_in_another_bucket(run: Run, bad: bool) -> None:
    @xray.step
    def bucket(user: int) -> str:
        return "B" if bad else "A"

    by = "price" if bucket(5) == "B" else "stars"
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(HOTELS, key="id")
    with run.step("in_stock", step_type="filter") as step:
        step.set_input_items(HOTELS, key="id")
        step.accept_many([hotel["id"] for hotel in HOTELS])
    ranked(run, by)


@BESIDE.fault("threshold", "non_deterministic")
def a_threshold_comes_of_a_table(run: Run, bad: bool) -> None:
    least = 80 if bad else 60
    with run.step("threshold") as step:
        step.set_input({"table": "limits"})
        step.set_output(least)
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(HOTELS, key="id")
    kept = []
    with run.step("keep", step_type="filter") as step:
        step.set_input_items(HOTELS, key="id")
        for hotel in HOTELS:
            if hotel["price"] < least:
                step.reject(hotel["id"], "too_cheap", {"price": hotel["price"], "threshold": least})
            else:
                step.accept(hotel["id"])
                kept.append(hotel["id"])
    run.set_output(kept)


@BESIDE.fault("load_model", "non_deterministic")
def a_model_is_another_version(run: Run, bad: bool) -> None:
    @xray.step
    def load_model(name: str) -> Row:
        return {"version": "v4" if bad else "v3", "weight": 1.5 if bad else 0.5}

    @xray.step
    def load_rows() -> list[Row]:
        return [{"id": n, "x": n * 1.0} for n in range(4)]

    model, rows = load_model("churn"), load_rows()
    with run.step("predict", step_type="score") as step:
        step.set_input_items(rows, key="id")
        chances = [row["x"] * model["weight"] for row in rows]
        for row, chance in zip(rows, chances, strict=True):
            step.accept(row["id"], score=chance)
    run.set_output(max(chances))


@BESIDE.fault("rank", "non_deterministic")
def a_flag_is_not_what_a_step_was_given(run: Run, bad: bool) -> None:
    with run.step("flags") as step:
        step.set_input({"user": 5})
        step.set_output({"dark_mode": bad})
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(HOTELS, key="id")
    with run.step("rank", step_type="rank") as step:
        step.set_input({"hotels": HOTELS, "by": "stars"})
        best = sorted(HOTELS, key=lambda hotel: (-hotel["price" if bad else "stars"], hotel["id"]))
        step.set_output([hotel["id"] for hotel in best])
    run.set_output([hotel["id"] for hotel in best[:3]])
