"""`python -m xray_examples.flights [SEED ...]`: run the pipeline against the server at XRAY_API_URL."""

from __future__ import annotations

import sys

from xray_core import XRay
from xray_examples.flights.pipeline import PIPELINE, Request, rebook


def main() -> int:
    with XRay(PIPELINE) as xray:
        for seed in map(int, sys.argv[1:] or ["1"]):
            run_id, best = rebook(xray, Request(), seed)
            print(f"run {run_id}: {best.id + ' to ' + best.dest if best else 'no flight'}")
        if not xray.flush():
            print(f"the server at {xray.settings.api_url} is not there; `xray sync` delivers later", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
