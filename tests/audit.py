"""`make audit`: known weaknesses of what is installed here, by pip-audit.

Where its database cannot be reached, says so and asks the package index what it does know: which of these releases their authors have
withdrawn. Exit code 0: looked up, nothing known; 1: weaknesses; 2: not looked up.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

UV: Final = Path(sys.executable).with_name("uv")
CONSTRAINTS: Final = Path(__file__).parents[1] / "constraints.txt"
OURS: Final = "xray-pipelines"


def main() -> int:
    """Look up; see the module."""
    with tempfile.TemporaryDirectory() as tools:
        got = installed(Path(tools), "pip-audit")
        said = audit(Path(tools)) if got.returncode == 0 else got
    try:
        found: list[dict[str, Any]] = json.loads(said.stdout)["dependencies"]
    except (ValueError, KeyError):
        return not_looked_up((said.stderr.strip() or "pip-audit said nothing").splitlines()[-1])
    looked_up = [each for each in found if "skip_reason" not in each]
    if not looked_up:  # an index without the database answers 404 for each, which pip-audit calls "no known weaknesses"
        return not_looked_up("the package index here has no database of weaknesses")
    weak = [each for each in looked_up if each["vulns"]]
    for each in weak:
        print(f"{each['name']} {each['version']}: {', '.join(vuln['id'] for vuln in each['vulns'])}")
    n_unknown = len(found) - len(looked_up)
    print(f"audit: {len(looked_up)} packages looked up, {n_unknown} not known, {len(weak)} with weaknesses")
    return 1 if weak else 0


def audit(tools: Path) -> subprocess.CompletedProcess[str]:
    """pip-audit, out of a folder of its own, over what is installed here."""
    command = [sys.executable, "-m", "pip_audit", "--path", sysconfig.get_path("purelib"), "--skip-editable", "--format", "json",
               "--progress-spinner", "off", "--timeout", "15"]  # fmt: skip
    own = {**os.environ, "PYTHONPATH": str(tools), "PIPAPI_PYTHON_LOCATION": sys.executable}
    return subprocess.run(command, capture_output=True, text=True, env=own)


def not_looked_up(why: str) -> int:
    """Say so, and which of what is installed the index calls withdrawn."""
    print(f"audit: NOT LOOKED UP: {why}; run `make audit` where there is a network", file=sys.stderr)
    pins = sorted({f"{each.name}=={each.version}" for each in distributions() if each.name != OURS})
    asked = subprocess.run(
        [UV, "pip", "compile", "--no-deps", "--no-header", "--no-annotate", "-"],
        input="\n".join(pins), capture_output=True, text=True,
    )  # fmt: skip
    if asked.returncode:
        print(f"audit: nor could the package index be asked: {asked.stderr.strip()}", file=sys.stderr)
        return 2
    withdrawn = re.findall(r"^warning: `(\S+)` is yanked.*$", asked.stderr, re.MULTILINE)
    print(
        f"audit: instead, of {len(pins)} packages the index was asked whether they were withdrawn: {', '.join(withdrawn) or 'none was'}"
    )
    return 2


def installed(tools: Path, name: str) -> subprocess.CompletedProcess[str]:
    """A package into a folder of its own, in the version that was tested."""
    command = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--target",
        tools,
        "--constraint",
        CONSTRAINTS,
        name,
    ]
    return subprocess.run(command, capture_output=True, text=True)


if __name__ == "__main__":
    raise SystemExit(main())
