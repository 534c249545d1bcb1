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
from adapters._storage import Manner, Placed, Stored

Resource = dict[str, Any]

# The settings of an object beside its content. What is not here is the user's own metadata.
FIELDS = {
    "Content-Type": "contentType",
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Encoding": "contentEncoding",
    "Content-Language": "contentLanguage",
}
SUMS = {"md5": "md5Hash", "crc32c": "crc32c"}
# What a listing has to tell of each object.
TOLD = ("name", "size", "updated", "generation", "metadata", *SUMS.values(), *FIELDS.values())
OCTETS = "application/octet-stream"


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
            digests=digests(resource),
            attributes=attributes(resource),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise Unavailable("the vendor's listing cannot be read", status=200) from error


def placed(resource: Resource) -> Placed:
    return Placed(etag(resource), generation(resource), digests(resource))


def generation(resource: Resource) -> str | None:
    found = resource.get("generation")
    return str(found) if found else None


def etag(resource: Resource) -> str | None:
    """What changes with the content alone. Cloud Storage's own `etag` changes with the metadata
    too, while the XML API's is the MD5 as well; a composed object has none."""
    return digests(resource).get("md5") or generation(resource)


def digests(resource: Resource) -> dict[str, str]:
    """The vendor's own sums of the content. Composed objects have no MD5; all have the other."""
    found = {ours: _hex(resource.get(theirs)) for ours, theirs in SUMS.items()}
    return {name: value for name, value in found.items() if value}


def sums(given: Mapping[str, str]) -> Resource:
    """The same, as they are told to the vendor."""
    known = {SUMS[name]: value for name, value in given.items() if name in SUMS}
    return {name: base64.b64encode(bytes.fromhex(value)).decode() for name, value in known.items()}


def announced(header: str) -> dict[str, str]:
    """The sums as the answer with a content has them: `crc32c=…,md5=…`."""
    pairs = (part.strip().partition("=") for part in header.split(","))
    return {name: value for name, _, told in pairs if (value := _hex(told))}


def _hex(given: object) -> str | None:
    try:
        return base64.b64decode(str(given)).hex() if given else None
    except binascii.Error:
        return None


def attributes(resource: Resource) -> dict[str, str]:
    known = {ours: resource[theirs] for ours, theirs in FIELDS.items() if resource.get(theirs)}
    return known | dict(resource.get("metadata") or {})


def described(given: Mapping[str, str], manner: Manner) -> Resource:
    """What is told of an object before its content is sent."""
    known: Resource = {theirs: given[ours] for ours, theirs in FIELDS.items() if ours in given}
    if manner.storage_class is not None:
        known["storageClass"] = manner.storage_class
    more = {name: value for name, value in given.items() if name not in FIELDS}
    return {"contentType": OCTETS, **known, "metadata": more}


class Digest:
    """The CRC32C of a content as it goes by, and how much of it there was."""

    def __init__(self, data: bytes = b"") -> None:
        self.size = 0
        self._crc32c = Checksum()
        self.add(data)

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._crc32c.update(data)

    def hex(self) -> str:
        return str(self._crc32c.digest().hex())

    def base64(self) -> str:
        return base64.b64encode(self._crc32c.digest()).decode()
