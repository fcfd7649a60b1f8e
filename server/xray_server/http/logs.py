"""The server's log: a line a request and a line a problem, as text or JSON, with the request's id, and no payloads.

No payloads means: routes as they are declared and not the ids in them, no query, no header, no body, and of an exception its
type and place but not its message, which may quote what it failed on. Owns formatting; where it goes is the process's stderr.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
import traceback
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from xray_server.errors import RequestFailedError

REQUEST_ID: ContextVar[str | None] = ContextVar("xray_request_id", default=None)
requests_log: Final = logging.getLogger("xray.requests")
audit_log: Final = logging.getLogger("xray.audit")
_GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_MAX_FRAMES: Final = 20


def request_id(headers: dict[bytes, bytes]) -> str:
    """The id that a proxy gave the request, where it is one; else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode("ascii") if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


def log_request(*, status: int, **fields: Any) -> None:
    """One line for an answered request. `fields` are words and figures of ours, never of a payload."""
    level = logging.ERROR if status >= 500 else logging.INFO
    if requests_log.isEnabledFor(level):
        requests_log.log(level, "request", extra={"fields": {"status": status, **fields}})


def log_audit(what: str, **fields: Any) -> None:
    """One line for what changes who may do what, or what is kept. Written at every level: `fields` name no payload."""
    audit_log.warning(what, extra={"fields": fields})


def print_audit(what: str, stream: TextIO, **fields: Any) -> None:
    """The same line from a command, which has no log of its own."""
    record = logging.makeLogRecord(
        {"name": audit_log.name, "levelname": "WARNING", "levelno": logging.WARNING, "msg": what, "fields": fields}
    )
    print(_Formatter("text").format(record), file=stream)


def configure(level: str, kind: Literal["text", "json"], stream: TextIO = sys.stderr) -> None:
    """Send the whole process's log to a stream. Replaces what handlers the root logger had."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(kind))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))  # other libraries quote addresses at INFO
    logging.getLogger("xray").setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):  # it may have brought handlers of its own
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True


def place_of(error: BaseException) -> str:
    """An exception's type and where it was raised; not what it says."""
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


class _Formatter(logging.Formatter):
    def __init__(self, kind: Literal["text", "json"]) -> None:
        super().__init__()
        self._json = kind == "json"

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if (known := REQUEST_ID.get()) is not None:
            fields["request_id"] = known
        fields |= getattr(record, "fields", {})
        if record.exc_info and (error := record.exc_info[1]) is not None:
            fields["error"] = type(error).__name__
            frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
            fields["frames"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        if self._json:
            return json.dumps(fields, ensure_ascii=True, default=str)
        head = f"{fields.pop('at')} {fields.pop('level'):7} {fields.pop('message')}"
        rest = " ".join(f"{name}={value}" for name, value in fields.items() if name != "logger")
        return "".join(c if c.isprintable() else "�" for c in f"{head} {rest}".rstrip())


def _shown(argument: object) -> object:
    if isinstance(argument, RequestFailedError):
        return str(argument)
    return place_of(argument) if isinstance(argument, BaseException) else argument


def _message(record: logging.LogRecord) -> str:
    arguments = record.args
    if isinstance(arguments, tuple):
        arguments = tuple(_shown(each) for each in arguments)
    return str(record.msg) % arguments if arguments else str(record.msg)
