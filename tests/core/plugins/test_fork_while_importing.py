"""A process that forks while the sender's thread imports: the child must not inherit an import lock nobody will release."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, signal, sys, time

class Slow:
    '''Makes the import of netrc, which the sender needs, take a second, and says when it has begun.'''
    begun = False
    def find_spec(self, name, path=None, target=None):
        if name != "netrc" or Slow.begun:
            return None
        import importlib.util
        Slow.begun = True
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def slowly(module):
            Slow.importing = True
            time.sleep(1)
            load(module)
        Slow.importing = False
        spec.loader.exec_module = slowly
        return spec

sys.meta_path.insert(0, Slow())
from xray_core import XRay
xray = XRay("p", api_url="http://127.0.0.1:9", spool_dir=sys.argv[1])
with xray.run():
    pass
deadline = time.monotonic() + 30
while not getattr(Slow, "importing", False):
    assert time.monotonic() < deadline
    time.sleep(0.005)
child = os.fork()
if child == 0:
    import netrc
    os._exit(7)
signal.alarm(30)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("the child could import", flush=True)  # before an end that flushes nothing
os._exit(0)
"""


def test_a_fork_waits_for_the_senders_imports(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=90,
        start_new_session=True,
    )
    assert "the child could import" in done.stdout, done.stderr
