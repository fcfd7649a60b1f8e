"""X-Ray's exceptions.

    XRayError
    ├── ConfigurationError   a wrong setting; raised at start-up, says what to do
    ├── DeliveryError        offline_mode="strict" and the server has not confirmed
    ├── TransportError       a transport got no answer; delivery catches it and tries again
    └── ApiError             the server answered a query with an error (`xray_core.Client`, the command line)
        └── NotFoundError    no such run, step or item

Every exception that the core raises on purpose is one of these, or a built-in one where a caller broke a contract
(TypeError, ValueError). Capture raises none of them, but for `DeliveryError` in strict mode, which its user asked for.
"""

from __future__ import annotations


class XRayError(Exception):
    """Whatever X-Ray raises on purpose."""


class ConfigurationError(XRayError):
    """A wrong setting. The message names it and says what is accepted."""


class DeliveryError(XRayError):
    """Strict mode: the server has not confirmed what was captured. The records are kept in the spool."""


class TransportError(XRayError):
    """No answer: refused, reset, timed out, not HTTP. Whether the server committed is unknown.

    Attributes:
        timed_out: the server was silent for as long as we would wait.
    """

    def __init__(self, message: str = "", *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class ApiError(XRayError):
    """The server could not be reached, or answered a query with an error.

    Attributes:
        status: the HTTP status; None where there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(ApiError):
    """The server knows no such run, step or item."""
