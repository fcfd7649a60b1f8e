"""The server's exceptions.

    xray_core.errors.XRayError
    ├── ConfigurationError            of the core: a wrong setting; raised at start-up, says what to do
    └── ServerError
        ├── HTTPError                 an answer other than 2xx, with its status
        ├── BodyError                 what came in cannot be read
        │   ├── TooLargeError         a body, or what it unpacks to, is over its limit
        │   ├── EncodingError         a body is not in the encoding that it says
        │   └── ShapeError            a field is not what it should be
        ├── QueueFullError            more waits to be committed than the server keeps in memory
        ├── StoreError
        │   ├── StoreUnavailableError the store cannot take or answer anything just now
        │   ├── BadCursorError        a cursor that the store did not make
        │   ├── WriteRaceError        another process wrote the same rows first; a backend tries again by itself
        │   ├── DeletedRunsError      some of a batch is of deleted runs; a backend writes the rest by itself
        │   └── DeletedItemsError     items were deleted since the writer looked; a backend tries again by itself
        ├── NotKnownError             a question about something that is not there
        │   ├── UnknownRunError       no such run
        │   ├── UnknownItemError      no run holds such an item, or it was deleted
        │   └── NoBaselineError       no good run to compare with
        ├── AlertError
        │   ├── TooManyRulesError     a project has as many rules as it may
        │   ├── TargetRefusedError    nothing is sent to such an address
        │   └── NotDeliveredError     a message did not arrive
        ├── TransferError             an export or import cannot go on
        ├── StoppingError             a wait was cut short because the server ends; retention stops
        └── RequestFailedError        for the log alone: where a request failed, without the words of the error

What HTTP answers to each is in `xray_server.http.errors`. Knows no HTTP framework, no SQL and no page.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from xray_core.errors import XRayError


class ServerError(XRayError):
    """Whatever the server raises on purpose."""


class HTTPError(ServerError):
    """An answer other than 2xx.

    Args:
        status: of HTTP.
        message: what was wrong, and what to do.
        field: the parameter or field to blame, as in `steps[0].input_count`.
        retry_after_s: when it is worth trying again, in seconds.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after_s = status, message, field, retry_after_s
        self.headers = dict(headers or {})


class BodyError(ServerError, ValueError):
    """What came in cannot be read."""


class TooLargeError(BodyError):
    """A body, or what it unpacks to, is over its limit."""


class EncodingError(BodyError):
    """A body is not in the encoding that it says."""


class ShapeError(BodyError):
    """A field that is not what it should be; `field` is its path, as in `steps[0].input_count`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class QueueFullError(ServerError):
    """More is waiting to be committed than the server keeps in memory; try again after `retry_after_s`."""

    retry_after_s: Final = 1


class StoreError(ServerError):
    """A store could not do what it was asked."""


class StoreUnavailableError(StoreError):
    """The store cannot take or answer anything just now (disk full, locked, connection lost); worth trying again."""


class BadCursorError(StoreError):
    """A cursor that this store did not make."""


class WriteRaceError(StoreError):
    """Another process wrote the same rows first: the transaction is rolled back and can be done again."""


class DeletedRunsError(StoreError):
    """Some of what was to be written is of deleted runs: nothing was written, and the rest can be.

    Args:
        runs: which: (number of the project, run id) each.
    """

    def __init__(self, runs: Collection[tuple[int, str]]) -> None:
        super().__init__(f"{len(runs)} deleted runs")
        self.runs = frozenset(runs)


class DeletedItemsError(StoreError):
    """Items were deleted since the writer last looked: nothing was written, and it can be done again without them."""


class NotKnownError(ServerError):
    """A question about something that is not there; `field` is the parameter that names it."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownRunError(NotKnownError):
    """There is no such run."""

    def __init__(self, run_id: str, field: str = "run_id") -> None:
        super().__init__(f"there is no run {run_id[:256]!r}", field=field)


class UnknownItemError(NotKnownError):
    """No run holds such an item, or it was deleted."""

    def __init__(self, message: str) -> None:
        super().__init__(message, field="item_id")


class NoBaselineError(NotKnownError):
    """The pipeline has no good run before this one."""

    def __init__(self, message: str) -> None:
        super().__init__(message, field="b")


class AlertError(ServerError):
    """Something about alerts could not be done."""


class TooManyRulesError(AlertError):
    """A project has as many rules as it may."""


class TargetRefusedError(AlertError):
    """Nothing is sent to such an address: it is not public, or of no kind that is known."""


class NotDeliveredError(AlertError):
    """A message did not arrive. The words name no secret."""


class TransferError(ServerError):
    """An export or import cannot go on."""


class StoppingError(ServerError):
    """A wait was cut short because the server ends."""


class RequestFailedError(ServerError):
    """Where a request failed, for the log: without the words of the error, which may hold a user's data."""
