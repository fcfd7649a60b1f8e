"""A job on a real Spark of two executors; which, the first argument says. Prints what came of it as its last line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.find_spark_home import _find_spark_home
from pyspark.sql import SparkSession
from xray_spark import foreach_partition, map_in_pandas, pandas_udf, udf

from tests.integrations import judging
from xray_core import XRay


def frame_of(spark: SparkSession) -> Any:
    return spark.range(0, judging.ITEMS, 1, judging.CHUNKS)


def killed(spark: SparkSession) -> int:
    """A Python worker is killed in the middle of a partition; Spark runs the task again."""
    return int(map_in_pandas(frame_of(spark), judge_frames, "id long").count())


def judge_frames(frames: Iterator[Any]) -> Iterator[Any]:
    for frame in frames:
        items = frame["id"].tolist()
        dies = judging.of_chunk(judging.DIES_IN)
        if items[0] in dies and items[0] != dies[0] and judging.first_time("died"):
            for _ in judging.judged(items[: len(items) // 2]):
                pass
            judging.die_half_delivered()
        kept = set(judging.judged(items))
        yield frame[frame["id"].isin(kept)]


def executor(spark: SparkSession) -> int:
    """The whole executor is killed when half is judged: what it had written for the shuffle is computed again."""
    judged = map_in_pandas(frame_of(spark), judge_frames_and_kill_executor, "id long")
    return int(judged.repartition(8, "id").count())


def judge_frames_and_kill_executor(frames: Iterator[Any]) -> Iterator[Any]:
    import signal
    import time

    from pyspark import TaskContext

    last = TaskContext.get().partitionId() == judging.CHUNKS - 1
    for frame in frames:
        kept = set(judging.judged(frame["id"].tolist()))
        yield frame[frame["id"].isin(kept)]
    if last and judging.first_time("died"):
        time.sleep(1)  # until the other tasks of this executor have ended: not waited for, only likely
        os.kill(java_above(os.getpid()), signal.SIGKILL)
        time.sleep(60)  # the kill comes before this ends: no more is judged here


def java_above(pid: int) -> int:
    import psutil

    for parent in psutil.Process(pid).parents():
        if parent.name() == "java":
            return int(parent.pid)
    raise AssertionError("no executor above this worker")


def speculated(spark: SparkSession) -> int:
    """One attempt is slow, so Spark gives its partition to the other host too; the second attempt is the one that ends."""
    return int(map_in_pandas(frame_of(spark), judge_frames_slowly_once, "id long").count())


def judge_frames_slowly_once(frames: Iterator[Any]) -> Iterator[Any]:
    from pyspark import TaskContext

    mine = TaskContext.get().partitionId() == judging.DIES_IN
    slow = mine and judging.first_time("slow")
    for frame in frames:
        kept = set(judging.judged(frame["id"].tolist()))
        yield frame[frame["id"].isin(kept)]
        if slow:
            judging.deliver()
            judging.wait_for_word("judged again")
    if mine and not slow:
        judging.leave_word("judged again")


def partitions(spark: SparkSession) -> int:
    foreach_partition(frame_of(spark), judge_rows)
    return -1


def judge_rows(rows: Iterator[Any]) -> None:
    items = [row["id"] for row in rows]
    if judging.DIES_IN in (items[0] // (judging.ITEMS // judging.CHUNKS),) and judging.first_time("died"):
        for _ in judging.judged(items[: len(items) // 2]):
            pass
        judging.die_half_delivered()
    for _ in judging.judged(items):
        pass


def judge_one(item: int) -> bool:
    """One row: as a UDF sees it."""
    if item == judging.of_chunk(judging.DIES_IN)[-1] and judging.first_time("died"):
        judging.die_half_delivered()
    return any(True for _ in judging.judged([item]))


def rows(spark: SparkSession) -> int:
    return int(frame_of(spark).where(udf(judge_one, "boolean")("id")).count())


def judge_series(items: pd.Series) -> pd.Series:
    last = judging.of_chunk(judging.DIES_IN)[-1]
    values = items.tolist()
    if last in values and judging.first_time("died"):
        judging.die_half_delivered()
    kept = set(judging.judged(values))
    return items.isin(kept)


def batches(spark: SparkSession) -> int:
    return int(frame_of(spark).where(pandas_udf(judge_series, "boolean")("id")).count())


def bare(spark: SparkSession) -> int:
    return int(frame_of(spark).mapInPandas(bare_frames, "id long").count())


def bare_frames(frames: Iterator[Any]) -> Iterator[Any]:
    for frame in frames:
        kept = {item for item in frame["id"].tolist() if judging.price_of(item) <= 700}
        yield frame[frame["id"].isin(kept)]


@contextmanager
def two_hosts() -> Iterator[str]:
    """The address of a cluster of two workers that Spark takes for two hosts: a second attempt goes to another host than the first."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    deploy = "org.apache.spark.deploy"
    address = f"spark://127.0.0.1:{port}"
    commands = [[f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]]
    for host in ("127.0.0.1", "127.0.0.2"):
        own = ["--host", host, "--cores", "1", "--memory", "1g", "--work-dir", f"work-{host}", "--webui-port", "0"]
        commands.append([f"{deploy}.worker.Worker", *own, address])
    run = str(Path(_find_spark_home()) / "bin" / "spark-class")
    with open("cluster.log", "wb") as log, ExitStack() as opened:
        for command in commands:
            process = subprocess.Popen([run, *command], stdout=log, stderr=log)
            opened.callback(process.wait, 30)
            opened.callback(process.terminate)
        yield address


SPECULATION = {
    "spark.speculation": "true", "spark.speculation.interval": "100ms", "spark.speculation.quantile": "0.5",
    "spark.driver.host": "127.0.0.1", "spark.cores.max": "2", "spark.executor.memory": "512m",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0", "spark.scheduler.maxRegisteredResourcesWaitingTime": "60s",
}  # fmt: skip


def main() -> None:
    if sys.argv[1] != "speculated":
        judge_on("local-cluster[2,1,1024]", {})
        return
    with two_hosts() as address:
        judge_on(address, SPECULATION)


def judge_on(master: str, settings: dict[str, str]) -> None:
    what = sys.argv[1]
    builder = (
        SparkSession.builder.master(master)
        .config(map=settings)
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(judging.ITEMS // judging.CHUNKS // 5))
        .config("spark.task.maxFailures", "4")
    )
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    jobs = {
        "killed": killed, "executor": executor, "speculated": speculated, "partitions": partitions, "rows": rows,
        "batches": batches,
    }  # fmt: skip
    try:
        with XRay("judging") as xray:
            if what in jobs:
                found = judging.run_job(xray, lambda: jobs[what](spark))
            else:
                found = judging.costs(xray, lambda: bare(spark), lambda: killed(spark))
            assert xray.flush(60)
    finally:
        spark.stop()
    judging.tell(**found)


if __name__ == "__main__":
    main()
