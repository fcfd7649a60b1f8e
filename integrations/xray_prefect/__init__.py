"""X-Ray for Prefect 3: every flow run a run, every task try a step, with no change to the flow's code.

    import xray_prefect; xray_prefect.enable()

or `xray run -- python flow.py`, or `PREFECT_PLUGINS_ENABLED=1`. See docs/prefect.md. Importing this imports no Prefect.
"""

from xray_prefect.instrument import enable

__all__ = ["enable"]
