"""The Store protocol: what the server asks of whatever keeps its records."""

from xray_server.errors import BadCursorError, StoreUnavailableError
from xray_server.store.answers import (
    DumpedRun,
    ItemRun,
    NameCount,
    Page,
    SampledStep,
    Sighting,
    StepGroup,
    StoredClient,
    StoredRun,
    StoredSet,
    StoredStep,
    StoreHealth,
    TrendPoint,
)
from xray_server.store.keys import Key, KeyStore
from xray_server.store.protocol import Store
from xray_server.store.questions import (
    DEFAULT_PROJECT,
    KINDS_KEPT,
    MAX_COUNTED,
    MAX_PAGE,
    MAX_PAGE_BYTES,
    Batch,
    Kept,
    Prune,
    RunFilter,
    StepFilter,
)

__all__ = [
    "DEFAULT_PROJECT",
    "KINDS_KEPT",
    "MAX_COUNTED",
    "MAX_PAGE",
    "MAX_PAGE_BYTES",
    "BadCursorError",
    "Batch",
    "DumpedRun",
    "ItemRun",
    "Kept",
    "Key",
    "KeyStore",
    "NameCount",
    "Page",
    "Prune",
    "RunFilter",
    "SampledStep",
    "Sighting",
    "StepFilter",
    "StepGroup",
    "Store",
    "StoreHealth",
    "StoreUnavailableError",
    "StoredClient",
    "StoredRun",
    "StoredSet",
    "StoredStep",
    "TrendPoint",
]
