"""What pages about many runs take for granted: runs of the pipelines that they ask about, on the server of this machine."""

from __future__ import annotations

import random
import subprocess
import time
from datetime import datetime, timedelta, timezone
from urllib.error import URLError
from urllib.request import urlopen

from xray_core import XRay


def served() -> None:
    """Start a server here; `follow` ends it."""
    with open("serve.log", "ab") as log, open("servers", "a") as pids:
        pids.write(f"{subprocess.Popen(['xray', 'serve'], stdout=log, stderr=log).pid}\n")
    for _ in range(300):
        try:
            urlopen("http://127.0.0.1:8000/health", timeout=5)
            return
        except (URLError, OSError):
            time.sleep(0.1)  # between two looks, of which there are 300
    raise SystemExit("the server did not start")


def checkouts(n_runs: int = 12) -> None:
    """Runs of `checkout` over two weeks: the carrier DHL has no slots in Germany for the last four days. The newest is of now."""
    chance = random.Random(7)
    now = datetime.now(timezone.utc)
    with XRay("checkout", sample_rate=1.0) as xray:
        for n in range(n_runs):
            at = now - timedelta(days=13 - 13 * n / (n_runs - 1))
            run = xray.open_run("checkout", run_id=f"checkout-{n:02}", started_at=at)
            step = run.open_step("slots", step_type="filter", started_at=at)
            for item in ["cust42", *(f"c{each}" for each in range(200))]:
                carrier, country = chance.choice(["DHL", "UPS", "GLS"]), chance.choice(["DE", "FR", "PL"])
                late = n * 13 / (n_runs - 1) > 9 and (carrier, country) == ("DHL", "DE")
                details = {"carrier": carrier, "country": country}
                if late or item == "cust42" or chance.random() < 0.1:
                    step.reject(item, "no_slot", details)
                else:
                    step.accept(item, details=details)
            step.close()
            step = run.open_step("gate", step_type="filter", started_at=at)
            for each in range(1, 10):
                price = 80 + 5 * each
                if price > 100:
                    step.reject(f"p{each}", "price_too_high", {"price": price, "dest": "BUR"}, value=price, limit=100)
                else:
                    step.accept(f"p{each}", value=price)
            step.close()
            run.close()
        xray.flush(20)


def ranked() -> None:
    """Runs of `rank` with one input, and the newest run of all: a filter of offers, then a ranking that is not stable."""
    with XRay("rank", sample_rate=1.0) as xray:
        for n in range(4):
            with xray.run(input={"q": "shoes"}, run_id=f"rank-{n}") as run:
                with run.step("filter", step_type="filter") as step:
                    for each in range(1, 12):
                        if each > 9:
                            step.reject(f"p{each}", "price_too_high", {"price": 100 + each})
                        else:
                            step.accept(f"p{each}")
                with run.step("gate", step_type="filter") as step:
                    for each in range(1, 10):
                        step.accept(f"p{each}", value=80 + each, limit=100)
                    step.reject("p12", "price_too_high", value=130, limit=100)
                with run.step("rank", step_type="rank") as step:
                    order = sorted(range(1, 10), key=lambda each: (each * 7 + n) % 9)
                    for rank, each in enumerate(order, 1):
                        step.accept(f"p{each}", score=1 / rank, rank=rank)
        xray.flush(20)
