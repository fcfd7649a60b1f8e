"""The `prefect.plugins` entry point: Prefect imports this at the end of `import prefect` when its plugins are enabled.

Being imported is all it takes. Prefect's `setup_environment` hook is not used: it has a timeout and a safe mode that skip
it, and it would add nothing.
"""

from xray_prefect.instrument import enable

enable()
