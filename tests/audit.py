"""`make audit`: pip-audit over this environment. Offline it says so and passes; in CI that is an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

_OFFLINE = (
    "ConnectionError",
    "Max retries exceeded",
    "ServiceError",
    "Name or service not known",
    "Temporary failure",
    "403 ",
    "404 ",
)


def main() -> int:
    """0: nothing known, or not possible here; 1: weaknesses; 2: not possible, in CI."""
    with tempfile.TemporaryDirectory() as directory:
        uv = Path(sys.executable).with_name("uv")
        installed = subprocess.run(
            [uv, "pip", "install", "--quiet", "--target", directory, "pip-audit"],
            capture_output=True,
            text=True,
            check=False,
        )
        if installed.returncode:
            return skipped("pip-audit cannot be installed")
        audit = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--path", sysconfig.get_path("purelib"), "--skip-editable", "--format", "json", "--progress-spinner", "off", "--timeout", "15"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": directory, "PIPAPI_PYTHON_LOCATION": sys.executable},
        )  # fmt: skip
    try:
        found = json.loads(audit.stdout)["dependencies"]
    except (ValueError, KeyError):
        if any(sign in audit.stderr for sign in _OFFLINE):
            return skipped("its database cannot be reached")
        print(audit.stderr, file=sys.stderr)
        return audit.returncode or 1
    looked_up = [each for each in found if "skip_reason" not in each]
    if not looked_up:  # an index without the database answers 404 for each, which pip-audit calls "no known weaknesses"
        return skipped("the package index here has no database of weaknesses")
    weak = [each for each in looked_up if each["vulns"]]
    for each in weak:
        print(f"{each['name']} {each['version']}: {', '.join(vuln['id'] for vuln in each['vulns'])}")
    print(
        f"audit: {len(looked_up)} packages looked up, {len(found) - len(looked_up)} not known, {len(weak)} with weaknesses"
    )
    return 1 if weak else 0


def skipped(why: str) -> int:
    print(f"audit: SKIPPED: {why}; run `make audit` where there is a network", file=sys.stderr)
    return 2 if os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
