"""One exchange with Cloud Storage: where it is, who asks, and what its answer means.

Facts: https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote, urlencode

import orjson

from adapters import _base
from adapters._base import (
    Call,
    Misconfigured,
    Refused,
    Request,
    Response,
    Throttled,
    VendorError,
)
from adapters._gcs_objects import Resource
from adapters._google import VARIABLE, find
from adapters._identity import Identity
from adapters._storage import Expect, Manner, answered, denied, mismatch, target_changed

JSON = {"Content-Type": "application/json; charset=utf-8"}
# An upload's session goes on: its part is stored.
GOES_ON = 308
# Cloud Storage also says by a 403 that a limit is reached.
LIMITS = {"rateLimitExceeded", "userRateLimitExceeded"}
DENIED = "forbidden"
# And by a 400 that what came is not what was announced, in a text that ends like this.
ALTERED = b"match calculated"
KEY_DENIED = b"Cloud KMS key"


class Wire(_base.Adapter):
    vendor = "gcs"
    base_url = "https://storage.googleapis.com"
    base_url_variable = "GCS_BASE_URL"
    secrets = (VARIABLE,)

    def __init__(self) -> None:
        self._identity = Identity("google", find)

    def fingerprint(self) -> str:
        """Another one also when other credentials stand in the same file."""
        try:
            at = os.stat(os.environ.get(VARIABLE, "")).st_mtime_ns
        except (OSError, ValueError):
            at = 0
        return f"{super().fingerprint()}-{at:x}"

    def _objects(self, bucket: str, **asked: str) -> str:
        return self._address(f"storage/v1/b/{bucket}/o", asked)

    def _object(self, bucket: str, key: str, **asked: str) -> str:
        return self._address(f"storage/v1/b/{bucket}/o/{named(key)}", asked)

    def _address(self, path: str, asked: Mapping[str, str]) -> str:
        query = f"?{urlencode(asked, quote_via=quote)}" if asked else ""
        return f"{self.address()}/{path}{query}"

    async def _ask(
        self,
        call: Call,
        request: Request,
        *,
        missing: VendorError | None = None,
        writes: bool = False,
    ) -> Response:
        """One exchange that succeeded. `missing`: what a 404 means, if not that of an object."""
        answer = await self._answer(call, request)
        if answer.status == 404 and missing is not None:
            raise missing
        return judged(answer, writes=writes)

    async def _answer(self, call: Call, request: Request) -> Response:
        """Whatever it is, but for the ones that `Call.read` raises."""
        try:
            return await call.read(request, credentials=await self._proof())
        except Misconfigured as error:
            raise _forbidden(error) from error

    async def _remove(self, call: Call, bucket: str, key: str, version: str | None) -> None:
        """Raises Changed where another version stands there; that nothing does is no error."""
        asked = {"ifGenerationMatch": version} if version else {}
        request = asks("DELETE", self._object(bucket, key, **asked), {})
        try:
            await self._ask(call, request, writes=True)
        except Refused as error:
            if error.status != 404:
                raise

    async def _proof(self) -> dict[str, str]:
        """The header that tells who asks. An emulator is told nothing, unless a file is named: the
        chain's tokens are for Google, and never go unencrypted to anybody else."""
        emulated = self.address().startswith("http://")
        if emulated and not os.environ.get(VARIABLE):
            return {}
        token = await self._identity.found(self.fingerprint())
        return {"Authorization": f"Bearer {token.text}"}


def asks(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Request:
    """Of an object's content no more than its length is kept."""
    return Request(method, url, headers, body, opaque=True)


def judged(answer: Response, *, writes: bool) -> Response:
    """The answer, where it is a success. `writes`: on a condition about the target."""
    if answer.status in (409, 412) and writes:
        raise target_changed(answer.status)
    if answer.status == 400 and ALTERED in answer.body:
        raise mismatch()
    if answer.status >= 300 and answer.status != GOES_ON:
        raise answered(answer.status, VARIABLE)
    return answer


def named(key: str) -> str:
    """The key as a part of an address. Raises Refused where it would name something else there."""
    if key in ("", ".", ".."):
        raise Refused("the object's key has no form that can be asked for", code="invalid_key")
    return quote(key, safe="")


def condition(expect: Expect) -> dict[str, str]:
    """0: nothing stands there. What has no version is no object of Cloud Storage."""
    return {"ifGenerationMatch": expect.version or "0"}


def encrypted(manner: Manner, parameter: str) -> dict[str, str]:
    """The key of Cloud KMS by which to encrypt. All is encrypted anyway, by keys of Google's.
    Raises Refused for what has another form."""
    if manner.encryption is None:
        return {}
    if not manner.encryption.startswith("projects/"):
        told = "encryption: Cloud Storage takes the name of a key: projects/…/cryptoKeys/…"
        raise Refused(told, code="not_supported")
    return {parameter: manner.encryption}


def _forbidden(error: Misconfigured) -> VendorError:
    if error.status is None:
        return error
    body = error.answer.body if error.answer else b""
    reasons = _reasons(body) if error.status == 403 else set()
    if LIMITS & reasons:
        return Throttled("the vendor's rate limit is reached", status=403)
    if DENIED in reasons:
        return denied()
    if error.status == 403 and KEY_DENIED in body:
        # One job's own setting must not pause the vendor for all.
        told = "encryption: Cloud Storage may not use that key"
        return Refused(told, status=403)
    return answered(error.status, VARIABLE)


def _reasons(body: bytes) -> set[str]:
    try:
        errors = cast(list[Resource], orjson.loads(body)["error"]["errors"])
        return {str(one.get("reason")) for one in errors}
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return set()
