"""An object as Cloud Storage's JSON API tells it, in our words and back.

Facts: https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from google_crc32c import Checksum

from adapters._base import Response, Unavailable
from adapters._storage import Stored, mismatch

Resource = dict[str, Any]

# The settings of an object beside its content. What is not here is the user's own metadata.
FIELDS = {
    "Content-Type": "contentType",
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Encoding": "contentEncoding",
    "Content-Language": "contentLanguage",
}


def read(answer: Response, kind: str) -> Resource:
    """The document of that kind. Raises Unavailable where it is none."""
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict) or told.get("kind") != f"storage#{kind}":
        raise Unavailable("the vendor's answer cannot be read", status=answer.status)
    return told


def stored(resource: Resource) -> Stored:
    try:
        return Stored(
            key=str(resource["name"]),
            size=int(resource["size"]),
            last_modified=datetime.fromisoformat(resource["updated"]),
            etag=etag(resource),
            version=str(resource["generation"]),
            crc32c=crc32c(resource),
            metadata=dict(resource.get("metadata") or {}),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise Unavailable("the vendor's listing cannot be read", status=200) from error


def etag(resource: Resource) -> str | None:
    """What changes with the content alone. Cloud Storage's own `etag` changes with the metadata
    too, while the XML API's is the MD5 as well; a composed object has none."""
    generation = resource.get("generation")
    return md5(resource) or (str(generation) if generation else None)


def md5(resource: Resource) -> str | None:
    return _hex(resource.get("md5Hash"))


def crc32c(resource: Resource) -> str | None:
    return _hex(resource.get("crc32c"))


def _hex(given: object) -> str | None:
    try:
        return base64.b64decode(str(given)).hex() if given else None
    except binascii.Error:
        return None


def attributes(resource: Resource) -> dict[str, str]:
    known = {ours: resource[theirs] for ours, theirs in FIELDS.items() if resource.get(theirs)}
    return known | dict(resource.get("metadata") or {})


def described(key: str, given: Mapping[str, str]) -> Resource:
    """What is told of an object before its content is sent."""
    known: Resource = {theirs: given[ours] for ours, theirs in FIELDS.items() if ours in given}
    more = {name: value for name, value in given.items() if name not in FIELDS}
    return {"name": key, **known, "metadata": more}


class Digest:
    """The content of one object as it goes by; `prove` against what the vendor tells of it."""

    def __init__(self) -> None:
        self._size = 0
        self._crc32c = Checksum()

    def add(self, data: bytes) -> None:
        self._size += len(data)
        self._crc32c.update(data)

    def base64(self) -> str:
        return base64.b64encode(self._crc32c.digest()).decode()

    def prove(self, resource: Resource) -> None:
        """Raises Unavailable where it is not the vendor's. Composed objects have no MD5, but all
        have this checksum."""
        told = (str(resource.get("size")), crc32c(resource))
        if told != (str(self._size), self._crc32c.digest().hex()):
            raise mismatch()
