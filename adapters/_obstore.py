"""One bucket through obstore: each exchange kept, each failure in our words.

obstore is a thin layer over the Rust crate `object_store`, which knows S3 and Cloud Storage.
Its errors carry what we must tell apart only in their text; the tests pin that text.
"""

from __future__ import annotations

import atexit
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PreconditionError,
)
from uuid_utils.compat import uuid7

from adapters import _redact, _storage
from adapters._base import (
    Call,
    Misconfigured,
    NotSent,
    Refused,
    Row,
    Unavailable,
    VendorError,
)
from adapters._storage import PART_BYTES, Content, Stored

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# Parts of one large object on their way at once: each is held in memory.
PARTS_AT_ONCE = 4
# S3 takes 10,000 parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MOST_PARTS = 9_000
STATUS = re.compile(r"status code: (\d{3})\b")
KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
CODE = re.compile(r"<Code>(\w+)</Code>")
# Codes that come with a 400 and yet say nothing about the object.
PASSING_CODES = {"RequestTimeout", "SlowDown", "InternalError"}
CREDENTIAL_CODES = {"ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed"}
# obstore's threads take the interpreter once more after an operation has ended. One that comes
# when it is gone aborts the process: about every fifth that exits right after its last operation.
SETTLE_SECONDS = 0.25
# What obstore raises: its own errors, and Python's for a missing object and for a path that it
# cannot name. A file of ours that is missing comes out of it as it went in.
RAISED = (BaseError, FileNotFoundError, ValueError)


@cache
def _settle_at_exit() -> None:
    atexit.register(time.sleep, SETTLE_SECONDS)


class Bucket:
    """A bucket of `vendor` at `url`. `credentials`: the setting to look at when it is refused."""

    def __init__(self, store: ObjectStore, vendor: str, url: str, credentials: str) -> None:
        _settle_at_exit()
        self._store = store
        self._vendor = vendor
        self._url = url
        self._credentials = credentials

    async def attributes(self, call: Call, key: str) -> Mapping[str, str]:
        async with self._exchange(call, "HEAD", key):
            found = await obstore.get_async(self._store, key, options={"head": True})
        return dict(found.attributes)

    async def get(self, call: Call, stored: Stored) -> Content:
        """The whole at once up to one part; beyond that part by part, each of the same version."""
        if stored.size > PART_BYTES:
            attributes = await self.attributes(call, stored.key)
            return Content(stored.size, self._parts(call, stored), attributes)
        data, attributes = await self._range(call, stored, None)
        return Content(len(data), data, attributes)

    async def put(self, call: Call, key: str, content: Content) -> str | None:
        whole = isinstance(content.data, bytes)
        chunk = max(PART_BYTES, -(-content.size // MOST_PARTS))
        # In parts: one request to begin, one a part, one to end.
        requests = 1 if whole else 2 + -(-content.size // chunk)
        async with self._exchange(call, "PUT", key, content.size, requests):
            answer = await obstore.put_async(
                self._store,
                key,
                content.data,
                attributes=dict(content.attributes),
                use_multipart=not whole,
                chunk_size=chunk,
                max_concurrency=PARTS_AT_ONCE,
            )
        return answer["e_tag"]

    async def delete(self, call: Call, key: str) -> None:
        async with self._exchange(call, "DELETE", key):
            await obstore.delete_async(self._store, key)

    async def _parts(self, call: Call, stored: Stored) -> AsyncIterator[bytes]:
        for start in range(0, stored.size, PART_BYTES):
            end = min(start + PART_BYTES, stored.size)
            yield (await self._range(call, stored, (start, end)))[0]

    async def _range(
        self, call: Call, stored: Stored, span: tuple[int, int] | None
    ) -> tuple[bytes, Mapping[str, str]]:
        options: Any = {"if_match": stored.etag} if stored.etag else {}
        if span is not None:
            options["range"] = span
        async with self._exchange(call, "GET", stored.key):
            found = await obstore.get_async(self._store, stored.key, options=options)
            data = bytes(await found.bytes_async())
        return data, dict(found.attributes)

    @asynccontextmanager
    async def _exchange(
        self, call: Call, method: str, key: str, sent: int | None = None, requests: int = 1
    ) -> AsyncIterator[None]:
        """One operation: kept as an interaction, its failure raised as one of ours."""
        for _ in range(requests):
            await call.pace()
        started, at = time.monotonic(), datetime.now(UTC)
        status: int | None = None
        told: Row | None = {"error": "the attempt was ended"}
        try:
            yield
            status, told = 200, None
        except RAISED as error:
            if (failure := translate(error, self._credentials)) is None:
                raise
            status, told = failure.status, {"error": failure.message}
            raise failure from error
        finally:
            call.saw(
                {
                    "id": uuid7(),
                    "vendor": self._vendor,
                    "method": method,
                    "url": _redact.url(f"{self._url}/{quote(key)}"),
                    "status_code": status,
                    "vendor_request_id": None,
                    "latency_ms": round((time.monotonic() - started) * 1000),
                    "request": {"bytes": sent} if sent is not None else None,
                    "response": told,
                    "at": at,
                }
            )


def translate(error: Exception, credentials: str) -> VendorError | None:
    """What obstore says, as the error that names what happens next. None: it says nothing."""
    text = str(error)
    if found := STATUS.search(text):
        code = CODE.search(text)
        return answered(int(found[1]), code[1] if code else "", credentials)
    if isinstance(error, PreconditionError | AlreadyExistsError):
        return _storage.changed()
    if "Received redirect" in text:
        return elsewhere(None)
    if isinstance(error, BaseError):
        return _lost(KIND.search(text))
    if "parse path" in text:
        return Refused("the object's key has no form that can be asked for", code="invalid_key")
    return None


def answered(status: int, code: str, credentials: str) -> VendorError:
    """The error of an answer with that status and, where the body tells one, that code."""
    if status == 404 and code == "NoSuchBucket":
        return _storage.no_bucket()
    if status in (301, 307):
        return elsewhere(status)
    if status == 400 and code in CREDENTIAL_CODES:
        return Misconfigured(f"{credentials} is not accepted for the bucket", status=status)
    if status == 400 and code in PASSING_CODES:
        return Unavailable(f"the vendor answered {status}", status=status)
    return _storage.answered(status, credentials)


def elsewhere(status: int | None) -> VendorError:
    return Misconfigured("AWS_REGION is not the region of the bucket", status=status)


def _lost(kind: re.Match[str] | None) -> VendorError:
    match kind[1] if kind else None:
        case "Connect":
            return NotSent("no connection to the vendor")
        case "Timeout":
            return Unavailable("the vendor did not answer in time", code="timeout")
    return Unavailable(
        "the connection was cut before the answer was complete", code="connection_lost"
    )
