"""A job on a real Ray of two nodes on this machine; which, the first argument says. Prints what came of it as its last line."""

from __future__ import annotations

import sys
from typing import Any

import ray
from ray.cluster_utils import Cluster
from xray_ray import carry, map_batches

from tests.integrations import judging
from xray_core import XRay


def killed() -> int:
    """A worker is killed in the middle of a chunk; Ray runs the task again."""
    task = ray.remote(max_retries=3)(carry(judging.judge_and_die_once))
    return sum(ray.get([task.remote(chunk) for chunk in range(judging.CHUNKS)]))


class Judge:
    """An actor that judges; the first that judges a certain chunk is killed in the middle of it."""

    def judge(self, chunk: int) -> int:
        return judging.judge_and_die_once(chunk)


def actors() -> int:
    """Calls of actors that are restarted and called again when they die."""
    made = ray.remote(max_restarts=2, max_task_retries=2)(carry(Judge))
    judges = [made.remote() for _ in range(2)]
    return sum(ray.get([judges[chunk % 2].judge.remote(chunk) for chunk in range(judging.CHUNKS)]))


def data() -> int:
    """The batches of a dataset."""
    dataset = ray.data.range(judging.ITEMS, override_num_blocks=judging.CHUNKS)
    return int(map_batches(dataset, judge_batch, batch_size=judging.ITEMS // judging.CHUNKS // 4).count())


def judge_batch(batch: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    items = batch["id"].tolist()
    dies = judging.of_chunk(judging.DIES_IN)
    if items[0] in dies and items[0] != dies[0] and judging.first_time("died"):
        for _ in judging.judged(items[: len(items) // 2]):
            pass
        judging.die_half_delivered()
    return {"id": np.array(list(judging.judged(items)), dtype=np.int64)}


def main() -> None:
    what = sys.argv[1]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        assert len(ray.nodes()) == 2
        with XRay("judging") as xray:
            jobs = {"killed": killed, "actors": actors, "data": data}
            if what in jobs:
                found = judging.run_job(xray, jobs[what])
            else:
                chunks = range(judging.CHUNKS)
                plain = ray.remote(judging.bare)
                found = judging.costs(
                    xray,
                    lambda: ray.get([plain.remote(chunk) for chunk in chunks]),
                    lambda: ray.get(
                        [task.remote(chunk) for task in [ray.remote(carry(judging.judge))] for chunk in chunks]
                    ),
                )
            assert xray.flush(60)
    finally:
        ray.shutdown()
        cluster.shutdown()
    judging.tell(**found)


if __name__ == "__main__":
    main()
