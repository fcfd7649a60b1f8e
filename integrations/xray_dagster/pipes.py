"""Dagster Pipes: the external process learns which step it is in, so that `current_step()` works there.

Script components, and every client of Pipes (subprocess, Docker, Kubernetes), take their environment from one method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from xray_core.capture import context
from xray_core.safety import swallow

Environment = Callable[[Any], Mapping[str, str]]


def around_environment(original: Environment) -> Environment:
    """`PipesSession.get_bootstrap_env_vars()`, with what the core looks for in a child process."""

    @wraps(original)
    def environment(session: Any) -> Mapping[str, str]:
        found = original(session)
        try:
            step = context.current_step_or_none()
            if step is not None:
                identity = {
                    "XRAY_RUN_ID": step.run_id,
                    "XRAY_STEP_ID": step.step_id,
                    "XRAY_STEP_ATTEMPT": str(step.attempt),
                }
                return {**found, **identity}
        except Exception as error:  # noqa: BLE001
            swallow("handing a step to a process of Dagster Pipes", error)
        return found

    return environment
