"""Bodies of requests: read within limits of size, time and memory, and unpacked. Knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from fastapi import Request

from xray_server.errors import EncodingError, HTTPError, TooLargeError
from xray_server.ingest.ndjson import MAX_BODY_BYTES, MAX_DECOMPRESSED_BYTES, decompress

BODY_TIMEOUT_S: Final = 30.0
MAX_UPLOADING_BYTES: Final = 256 * 1024 * 1024  # of all bodies that are being received or decoded
MAX_FORM_BYTES: Final = 16 * 1024
_MAX_FORM_FIELDS: Final = 30
_DECODE_THREADS: Final = 2

T = TypeVar("T")


class Uploads:
    """How much of all bodies is in memory: what arrived of them, and what it unpacked to, until it is decoded."""

    def __init__(self, max_bytes: int = MAX_UPLOADING_BYTES) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes

    def take(self, size_bytes: int) -> None:
        """Count bytes that are held. Raises HTTPError (429) when all bodies together would be over the limit."""
        if self.bytes + size_bytes > self._max_bytes:
            raise HTTPError(429, "too many bodies at once", retry_after_s=1)
        self.bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that are no longer held."""
        self.bytes -= size_bytes


class Bodies:
    """Reads bodies of records, and decodes them on few threads.

    Args:
        timeout_s: how long one body may take to arrive.
        max_bytes: of one body as it arrives.
        max_decompressed_bytes: of what it unpacks to.
    """

    def __init__(
        self,
        *,
        timeout_s: float = BODY_TIMEOUT_S,
        max_bytes: int = MAX_BODY_BYTES,
        max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._max_decompressed_bytes = max_decompressed_bytes
        self._uploads = Uploads()
        self._decoding = anyio.CapacityLimiter(_DECODE_THREADS)

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, unpacked; to be decoded within the block, to whose end it counts as held.

        Raises:
            HTTPError: 400 bad encoding, 408 too slow, 413 too large, 415 unknown encoding, 429 too many at once.
        """
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", ""):
            raise HTTPError(415, f"Content-Encoding {encoding[:50]!r} is not known here; send gzip, or none")
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > self._max_bytes):
            raise self._too_large()
        arrived = bytearray()
        unpacked = b""
        try:
            await self._receive(request, arrived)
            body = bytes(arrived)
            if encoding not in ("identity", ""):
                body = await self._unpack(body)
                self._uploads.take(len(body))
                unpacked = body
            yield body
        finally:
            self._uploads.give_back(len(arrived) + len(unpacked))

    async def decode(self, function: Callable[[], T]) -> T:
        """Run what decodes a body on one of the threads for it."""
        return await anyio.to_thread.run_sync(function, limiter=self._decoding)

    async def _receive(self, request: Request, body: bytearray) -> None:
        try:
            with anyio.fail_after(self._timeout_s):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > self._max_bytes:
                        raise self._too_large()
                    self._uploads.take(len(chunk))
                    body += chunk
        except TimeoutError:
            raise _too_slow(self._timeout_s) from None

    async def _unpack(self, body: bytes) -> bytes:
        try:
            return await self.decode(partial(decompress, body, max_bytes=self._max_decompressed_bytes))
        except TooLargeError as error:
            raise HTTPError(413, str(error)) from None
        except EncodingError as error:
            raise HTTPError(400, str(error)) from None

    def _too_large(self) -> HTTPError:
        return HTTPError(413, f"the body is larger than {self._max_bytes} bytes; send it in pieces")


async def read_small(request: Request, max_bytes: int, message: str) -> bytes:
    """A body that is kept small.

    Raises:
        HTTPError: 413 with the message, when it is larger; 408 too slow.
    """
    body = bytearray()
    try:
        with anyio.fail_after(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise HTTPError(413, message)
    except TimeoutError:
        raise _too_slow(BODY_TIMEOUT_S) from None
    return bytes(body)


def _too_slow(timeout_s: float) -> HTTPError:
    return HTTPError(408, f"the body did not arrive within {timeout_s:g} s")


async def read_form(request: Request, max_bytes: int = MAX_FORM_BYTES) -> dict[str, str]:
    """The fields of a form of a page, the first value of each, stripped; empty ones are left out.

    Raises:
        HTTPError: 413 when it is larger than `max_bytes`, 422 when it has too many fields.
    """
    body = await read_small(request, max_bytes, f"this form is {max_bytes} bytes at most")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        raise HTTPError(422, "this is not a form of this page") from None
    return {name: values[0].strip() for name, values in fields.items()}
