"""Prints the score of the diagnosis suite: `python -m tests.diagnosis`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.diagnosis.cases import CASES
from tests.diagnosis.test_diagnosis import problems_of_control, problems_of_fault
from tests.live import Live


def main() -> int:
    found = clean = 0
    with tempfile.TemporaryDirectory() as directory:
        live = Live(Path(directory))
        for case in CASES:
            faults, blamed = problems_of_fault(live, case), problems_of_control(live, case)
            found += not faults
            clean += not blamed
            print(f"{case.name:40} {'found' if not faults else 'MISSED'}   {'clean' if not blamed else 'BLAMED'}")
            for problem in faults + blamed:
                print(f"    {problem}")
        live.stop()
    print(f"diagnosis: {found} of {len(CASES)} faults found, {clean} of {len(CASES)} controls clean")
    return int(found + clean < 2 * len(CASES))


if __name__ == "__main__":
    sys.exit(main())
