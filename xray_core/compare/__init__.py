"""Compare: where two runs part, which steps only follow, which items flipped, and what the runs were given.

Pure: takes merged states and a source of sets and samples, which is asked only where summaries differ. Knows no storage and
no HTTP. docs/why.md says how it decides, and what it cannot know.
"""

from xray_core.compare.options import Options, options
from xray_core.compare.parting import certain_words
from xray_core.compare.runs import compare, where_parted
from xray_core.compare.sentences import say
from xray_core.compare.types import (
    Change,
    ComparedStep,
    Diff,
    Flip,
    HeldSet,
    PartedAt,
    Side,
    Source,
    StepKey,
)

__all__ = [
    "Change",
    "ComparedStep",
    "Diff",
    "Flip",
    "HeldSet",
    "Options",
    "PartedAt",
    "Side",
    "Source",
    "StepKey",
    "certain_words",
    "compare",
    "options",
    "say",
    "where_parted",
]
