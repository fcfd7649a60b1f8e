"""Items without a line of code: which went in and came out of a step, read from its arguments and its result.

`Observed` (observed.py) holds both until the step ends; `xray_core.capture.collections` finds the collections of items in a value,
keys.py chooses the field that names them, relation.py says what became of them. Only known types are read, by their libraries'
own code: nothing lazy is touched, and none of the program's code runs.
"""

from xray_core.capture.inference.observed import Inferred, Observed

__all__ = ["Inferred", "Observed"]
