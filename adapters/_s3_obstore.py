"""One bucket through obstore: each exchange kept, each failure in our words.

obstore is a thin layer over the Rust crate `object_store`. Its errors carry what we must tell
apart only in their text; the tests pin that text.
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
from adapters._base import Call, NotSent, Refused, Row, Unavailable, VendorError
from adapters._s3_errors import answered, elsewhere
from adapters._s3_wire import bare
from adapters._storage import Expect, Piece, Placed, Stored

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import ObjectStore

STATUS = re.compile(r"status code: (\d{3})\b")
KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
CODE = re.compile(r"<Code>(\w+)</Code>")
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
    """A bucket of `vendor` at `url`."""

    def __init__(self, store: ObjectStore, vendor: str, url: str) -> None:
        _settle_at_exit()
        self._store = store
        self._vendor = vendor
        self._url = url

    async def get(self, call: Call, stored: Stored, span: tuple[int, int] | None = None) -> Piece:
        """All of exactly that version, or a part of it."""
        options: Any = {"if_match": f'"{stored.etag}"'} if stored.etag else {}
        if stored.version is not None:
            options["version"] = stored.version
        if span is not None:
            options["range"] = span
        async with self._exchange(call, "GET", stored.key):
            found = await obstore.get_async(self._store, stored.key, options=options)
            data = bytes(await found.bytes_async())
        # How the source is kept says nothing of how its copy is to be.
        attributes = {k: v for k, v in found.attributes.items() if k != "Storage-Class"}
        return Piece(data, attributes)

    async def put(
        self,
        call: Call,
        key: str,
        data: bytes,
        attributes: Mapping[str, str],
        expect: Expect | None,
    ) -> Placed:
        """In one request. `expect`: what must stand there; None: whatever does is replaced."""
        async with self._exchange(call, "PUT", key, len(data)):
            answer = await obstore.put_async(
                self._store,
                key,
                data,
                attributes=dict(attributes),
                mode=_mode(expect),
                # In parts it could be neither conditional nor known to the ledger.
                use_multipart=False,
            )
        return Placed(bare(answer["e_tag"]), answer["version"])

    @asynccontextmanager
    async def _exchange(
        self, call: Call, method: str, key: str, sent: int | None = None
    ) -> AsyncIterator[None]:
        """One operation: kept as an interaction, its failure raised as one of ours."""
        await call.pace()
        started, at = time.monotonic(), datetime.now(UTC)
        status: int | None = None
        told: Row | None = {"error": "the attempt was ended"}
        try:
            yield
            status, told = 200, None
        except RAISED as error:
            if (failure := translate(error)) is None:
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


def _mode(expect: Expect | None) -> PutMode:
    if expect is None:
        return "overwrite"
    return {"e_tag": f'"{expect.etag}"'} if expect.etag else "create"


def translate(error: Exception) -> VendorError | None:
    """What obstore says, as the error that names what happens next. None: it says nothing."""
    text = str(error)
    if found := STATUS.search(text):
        code = CODE.search(text)
        return answered(int(found[1]), code[1] if code else "")
    if isinstance(error, PreconditionError | AlreadyExistsError):
        return _storage.changed()
    if "Received redirect" in text:
        return elsewhere(None)
    if isinstance(error, BaseError):
        return _lost(KIND.search(text))
    if "parse path" in text:
        return Refused("the object's key has no form that can be asked for", code="invalid_key")
    return None


def _lost(kind: re.Match[str] | None) -> VendorError:
    match kind[1] if kind else None:
        case "Connect":
            return NotSent("no connection to the vendor")
        case "Timeout":
            return Unavailable("the vendor did not answer in time", code="timeout")
    return Unavailable(
        "the connection was cut before the answer was complete", code="connection_lost"
    )
