"""`make bench [ONLY=name]`: every module here with a `main()`, one after another. Ratios within one run are what counts."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from pathlib import Path


def main() -> int:
    wanted = set(sys.argv[1:])
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    for name in names:
        if name == "__main__" or name.startswith("peer") or (wanted and name not in wanted):
            continue  # peers: `make bench-peers`, since it installs them
        module = import_module(f"tests.benchmarks.{name}")
        if not hasattr(module, "main"):
            continue
        print(f"\n== {name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        module.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
