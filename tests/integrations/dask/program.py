"""A job on a real cluster of four workers; which, the first argument says. Prints what came of it as its last line."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from distributed import Client, LocalCluster, wait
from xray_dask import carry, map_partitions

from tests.integrations import judging
from xray_core import XRay


def killed(client: Client) -> int:
    """A worker is killed in the middle of a chunk; Dask gives the chunk to another."""
    return sum(client.gather(client.map(carry(judging.judge_and_die_once), range(judging.CHUNKS), pure=False)))


def lost(client: Client) -> int:
    """A worker is killed when all is judged; what it had in memory is judged again."""
    futures = client.map(carry(judging.judge), range(judging.CHUNKS), pure=False)
    wait(futures)
    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
    # each result is asked for where it is, until those that are gone are there again
    return sum(client.gather(client.map(lambda kept: kept, futures, pure=False)))


def frame(client: Client) -> int:
    """The same of a DataFrame's partitions, shuffled afterwards."""
    import dask.dataframe as dd
    import pandas as pd

    made = dd.from_pandas(pd.DataFrame({"item": range(judging.ITEMS)}), npartitions=judging.CHUNKS)
    kept = map_partitions(made, judge_frame).persist()
    wait(kept)
    shuffled = kept.shuffle("item", npartitions=8)
    return int(shuffled["item"].count().compute())


def judge_frame(part: Any) -> Any:
    if len(part) and int(part["item"].iloc[0]) == 7 * (judging.ITEMS // judging.CHUNKS) and judging.first_time("died"):
        for _ in judging.judged(part["item"].tolist()[: len(part) // 2]):
            pass
        judging.die_half_delivered()
    kept = set(judging.judged(part["item"].tolist()))
    return part[part["item"].isin(kept)]


def main() -> None:
    what = sys.argv[1]
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        XRay("judging") as xray,
    ):
        jobs = {"killed": killed, "lost": lost, "frame": frame}
        if what in jobs:
            found = judging.run_job(xray, lambda: jobs[what](client))
        else:
            chunks = range(judging.CHUNKS)
            found = judging.costs(
                xray,
                lambda: client.gather(client.map(judging.bare, chunks, pure=False)),
                lambda: client.gather(client.map(carry(judging.judge), chunks, pure=False)),
            )
        assert xray.flush(60)
        judging.tell(**found)


if __name__ == "__main__":
    main()
