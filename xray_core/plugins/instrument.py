"""What the core knows of an adapter: which framework it is for, how it is enabled, and which seams it found.

An adapter makes one `Instrument` in a module that imports no framework, and gives it out from `xray_instruments()`. Knows
no framework itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from xray_core.plugins.post_import import when_imported
from xray_core.safety import log, swallow


class Instrument:
    """One adapter in this process. Calling it enables it; doing so again changes nothing.

    Args:
        framework: its name, as in "prefect"; also the module whose import enables the adapter under `xray run`.
        distribution: the package whose version decides whether it is supported.
        since, before: the versions supported, as in "3.0" and "4"; others are tried, with a warning.
        seams: module name -> function that wraps what is to be wrapped in that module. Called once after the module was
            executed. It reports each thing it wrapped with `found`, and what was not there with `missing`.
        how: says how to enable the adapter here and now, for `xray doctor`.
    """

    def __init__(
        self,
        framework: str,
        *,
        distribution: str,
        since: str,
        before: str,
        seams: Mapping[str, Callable[[ModuleType], object]],
        how: Callable[[], str],
    ) -> None:
        self.framework = framework
        self.distribution = distribution
        self.since = since
        self.before = before
        self.enabled = False
        self._seams = seams
        self._how = how
        self._found: dict[str, None] = {}
        self._missing: dict[str, str] = {}

    def __call__(self) -> None:
        """As `enable`."""
        self.enable()

    def enable(self) -> None:
        """Wrap the seams of the modules that are imported, and of the others once they are. Never raises; idempotent."""
        if self.enabled:
            return
        self.enabled = True
        try:
            if self.supported() is False:
                log.warning(
                    "X-Ray: %s %s is not among the supported versions (%s); what can be captured will be.",
                    self.framework, self.version(), self.versions,
                )  # fmt: skip
            for module_name, wrap in self._seams.items():
                when_imported(module_name, wrap)
        except Exception as error:  # noqa: BLE001
            swallow(f"enabling {self.framework}", error)

    def found(self, seam: str) -> None:
        """A seam was there, and is wrapped."""
        self._found[seam] = None

    def missing(self, seam: str, why: str = "not in this version") -> None:
        """A seam is not there: its part of the capture is lost. The first one is a warning, doctor shows them all."""
        if not self._missing:
            log.warning(
                "X-Ray: %s %s has no %s (%s); the pipeline goes on, less of it is captured. `xray doctor` says more.",
                self.framework, self.version() or "", seam, why,
            )  # fmt: skip
        self._missing[seam] = why

    @property
    def modules(self) -> tuple[str, ...]:
        """The framework's modules that hold the seams."""
        return tuple(self._seams)

    @property
    def versions(self) -> str:
        """The supported versions, as in ">=3.0,<4"."""
        return f">={self.since},<{self.before}"

    def version(self) -> str | None:
        """Of the framework installed here; None without it."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None

    def supported(self) -> bool | None:
        """Whether the installed version is one of those tested; None when there is none."""
        installed = self.version()
        if installed is None:
            return None
        return _numbers(self.since) <= _numbers(installed) < _numbers(self.before)

    def report(self) -> dict[str, Any]:
        """For `xray doctor`, about this process: {framework, installed, supported_versions, supported, imported, enabled,
        seams, missing, how}. `installed` is the version or None; `missing` is {seam: why}.
        """
        installed = self.version()
        return {
            "framework": self.framework,
            "installed": installed,
            "supported_versions": self.versions,
            "supported": self.supported(),
            "imported": self.framework in sys.modules,
            "enabled": self.enabled,
            "seams": list(self._found),
            "missing": dict(self._missing),
            "how": self._how() if installed is not None else f"pip install 'xray-pipelines[{self.framework}]'",
        }


def _numbers(text: str) -> tuple[int, ...]:
    """The release part of a version, so that 3.10 comes after 3.9 and 4.0rc1 counts as 4.0."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
