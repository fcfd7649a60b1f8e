"""X-Ray for Dagster: every op, asset and asset check becomes a step of its Dagster run, with no change to its code.

`xray run -- dagster dev` enables it; so does one line in the definitions module: `import xray_dagster; xray_dagster.enable()`.
See docs/dagster.md.
"""

from xray_dagster.instrument import enable

__all__ = ["enable"]
