"""What does a request's body hold? JSON, perhaps compressed; for vendors that take both."""

import zlib
from typing import Any

import orjson

from sandbox.vendor import Request

JSON = "application/json"
GZIP = zlib.MAX_WBITS | 16


class TooLong(ValueError):
    """Unpacked it is longer than the vendor takes."""


class NotReadable(ValueError):
    """No JSON, or not what its headers say it is."""


def media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def plain(request: Request, most: int) -> bytes:
    """The body, unpacked. Raises TooLong, NotReadable."""
    body = request.body
    if request.headers.get("content-encoding", "identity").lower() == "gzip":
        unpacking = zlib.decompressobj(wbits=GZIP)
        try:
            body = unpacking.decompress(body, most + 1)
        except zlib.error:
            raise NotReadable("not gzip") from None
        if not unpacking.eof and len(body) <= most:
            raise NotReadable("half of a gzip")
    if len(body) > most:
        raise TooLong(f"more than {most} bytes")
    return body


def document(body: bytes) -> Any:
    """Raises NotReadable."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotReadable("not JSON") from None
