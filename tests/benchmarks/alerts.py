"""What alerts cost ingest: the rate with 100 active rules beside none, two servers in turn; and how fast judging follows."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

ROUNDS = int(os.environ.get("ROUNDS", "15"))
BATCHES, STEPS = 6, 250  # of one round: about what a busy fleet sends in a second
RULES = 100
PIPELINES, NAMES = 5, ("retrieve", "filter", "score", "rank")


def rules() -> list[dict[str, Any]]:
    """100 rules of every metric; each step of the load is covered by ten to twenty of them."""
    metrics: list[dict[str, Any]] = [
        {"metric": "rejection_rate", "above": 0.99},
        {"metric": "reason_share", "reason": "too_dear", "above": 0.99},
        {"metric": "unaccounted"},
        {"metric": "zero_output"},
        {"metric": "duration", "above": 1e6, "step_type": "filter"},
        {"metric": "changed_rate"},
        {"metric": "changed_reasons"},
        {"metric": "failed"},
    ]
    scopes: list[dict[str, Any]] = [
        {"pipeline": f"p{i % PIPELINES}", **({"step": NAMES[i % len(NAMES)]} if i % 2 else {})} for i in range(RULES)
    ]
    return [{"name": f"rule {i}", **scopes[i], **metrics[i % len(metrics)]} for i in range(RULES)]


def batch(number: int) -> bytes:
    now_us, lines = int(time.time() * 1e6), []
    for i in range(STEPS):
        run_id = f"run-{number}-{i // len(NAMES)}"
        rejected = 40 + (number * 7 + i) % 5
        lines.append(
            {"v": 1, "kind": "step", "run_id": run_id, "step_id": f"{run_id}.{i % len(NAMES)}", "attempt": 0, "part": "a", "rev": 1,
             "pipeline": f"p{number % PIPELINES}", "name": NAMES[i % len(NAMES)], "step_type": "filter", "status": "completed",
             "started_us": now_us + i, "ended_us": now_us + i + 5000, "duration_us": 5000, "input_count": 100,
             "counts": {"accepted": 100 - rejected, "rejected": rejected},
             "reasons": {"rejected": {"too_dear": rejected - 10, "too_far": 10}}}
        )  # fmt: skip
    return "\n".join(map(json.dumps, lines)).encode()


class Server:
    def __init__(self, place: Path, port_free: str = "0") -> None:
        place.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "xray_server", "serve", "--port", port_free, "--db", f"sqlite:///{place}/x.db"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.http = httpx.Client(base_url=line.split()[2], timeout=60)

    def round(self, bodies: list[bytes]) -> float:
        """Seconds for all bodies, one after another."""
        began = time.perf_counter()
        for body in bodies:
            answer = self.http.post("/ingest", content=body)
            assert answer.json()["accepted"] == STEPS, answer.text
        return time.perf_counter() - began

    def alerts(self) -> dict[str, int]:
        found: dict[str, int] = self.http.get("/health").json()["alerts"]
        return found

    def stop(self) -> None:
        self.http.close()
        self._process.terminate()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        watched, plain = Server(Path(place) / "watched"), Server(Path(place) / "plain")
        try:
            for rule in rules():
                assert watched.http.post("/alerts/rules", json=rule).status_code == 200
            times: dict[str, list[float]] = {"watched": [], "plain": []}
            caught_up: list[float] = []
            for number in range(ROUNDS + 1):
                bodies = [batch(number * BATCHES + i) for i in range(BATCHES)]
                order = [("watched", watched), ("plain", plain)]
                for name, server in order if number % 2 else order[::-1]:
                    took = server.round(bodies)
                    began = time.perf_counter()
                    while name == "watched" and watched.alerts()["waiting_notes"]:
                        time.sleep(0.05)  # what is judged later is not paid by the other server's turn
                    if number:  # the first is for warming up
                        times[name].append(took)
                        if name == "watched":
                            caught_up.append(time.perf_counter() - began)
            rate = {name: BATCHES * STEPS / statistics.median(each) for name, each in times.items()}
            ratios = [a / b for a, b in zip(times["plain"], times["watched"])]
            found = watched.alerts()
            print(f"  no rules    {rate['plain']:8,.0f} steps/s")
            print(
                f"  {RULES} rules   {rate['watched']:8,.0f} steps/s   median of paired ratios {statistics.median(ratios):.2f}"
            )
            print(
                f"  judged {found['judged']:,} steps, each by 10 to 20 rules; caught up {statistics.median(caught_up):.1f} s after each round"
            )
        finally:
            watched.stop()
            plain.stop()


if __name__ == "__main__":
    main()
