"""What the tests of Cloud Storage share: a way out, and an adapter's answers in short."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from adapters._http import HttpCall
from adapters._storage import Expect, Placed, Stored
from adapters.gcs import Adapter
from tests.faulty import answer

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
AT = datetime(2026, 11, 28, 15, 53, 24, tzinfo=UTC)
NOTHING = Expect()


def stored(key: str, size: int = 5, version: str | None = None) -> Stored:
    return Stored(key, size, AT, None, version)


async def put(
    call: HttpCall,
    bucket: str,
    key: str,
    data: bytes,
    attributes: Mapping[str, str] | None = None,
    expect: Expect = NOTHING,
) -> Placed:
    return await Adapter().put(call, bucket, key, data, attributes or {}, expect=expect)


async def listed(call: HttpCall, bucket: str, prefix: str = "", after: str = "") -> list[Stored]:
    pages = Adapter().pages(call, bucket, prefix, after)
    return [found async for page in pages for found in page]


async def read(call: HttpCall, bucket: str, found: Stored) -> bytes:
    return (await Adapter().get(call, bucket, found)).data


async def do(operation: str, call: HttpCall, bucket: str = "bucket") -> None:
    """One operation, of one request."""
    match operation:
        case "list":
            await listed(call, bucket)
        case "look":
            await Adapter().look(call, bucket, "k")
        case "get":
            await read(call, bucket, stored("k"))
        case "put":
            await put(call, bucket, "k", b"x")
        case "begin":
            await Adapter().begin(call, bucket, "k", 9, {}, expect=NOTHING)
        case "copy":
            await Adapter().copy(call, bucket, "k", "other", stored("k"), {}, expect=NOTHING)


def said(status: int, reason: str) -> bytes:
    told = {"error": {"code": status, "message": "no", "errors": [{"reason": reason}]}}
    return answer(status, json.dumps(told).encode())
