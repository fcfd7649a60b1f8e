"""What `xray run` puts on PYTHONPATH: waits, in every Python process below, until a framework is imported.

Runs at the start of every interpreter under `xray run`, so it imports nothing that is not loaded already; X-Ray itself
is loaded when the first framework is. Then the `sitecustomize` that this one hides gets its turn.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing would cost every process 5 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_HERE = os.path.dirname(os.path.abspath(__file__))


def _warn(what: str) -> None:
    # Only the command itself speaks: its children may be Pythons that have nothing to do with the pipeline.
    if os.environ.get("XRAY_AUTOLOAD_PID") == str(os.getpid()):
        sys.stderr.write(f"X-Ray: {what}; the command goes on without it.\n")


class _FirstFramework:
    """Stands first in `sys.meta_path`, and makes room for X-Ray when one of `names` is about to be imported."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.names:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            from xray_core import autoload
            from xray_core.plugins import post_import

            autoload.arm()
            return post_import.finder.find_spec(name, path, target)
        except Exception as error:  # noqa: BLE001  # safety.py may be what cannot be loaded
            _warn(f"cannot be loaded by {sys.executable} ({type(error).__name__}: {error})")
            return None


def _chain() -> None:
    """Run the sitecustomize that Python would have found without ours, under its own name."""
    # The program sees a path without this directory; its children find it through the environment.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    own = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  # the user's, where there is one
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        if own is not None:
            sys.modules["sitecustomize"] = own


_names = frozenset(filter(None, os.environ.get("XRAY_AUTOLOAD", "").split(",")))
if _names:
    sys.meta_path.insert(0, _FirstFramework(_names))
_chain()
