"""How S3 writes things down: addresses, headers and documents.

Facts: https://docs.aws.amazon.com/AmazonS3/latest/API, 2006-03-01.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_plus, urlencode
from xml.etree import ElementTree

from adapters._base import Refused, Response, Unavailable
from adapters._s3_errors import STATUSES, answered
from adapters._storage import Expect, Manner, Stored

Element = ElementTree.Element

# The settings of an object beside its content. What is not here is the user's own metadata.
FIELDS = (
    "Content-Type",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
)
META = "x-amz-meta-"
NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What neither an address nor a document can hold, or not as it is.
UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
MD5 = re.compile(r"[0-9a-f]{32}")
KMS = "aws:kms"
UNREADABLE = "unreadable_answer"


# --- what is asked


def address(bucket: str, key: str = "", **asked: str) -> str:
    """The path and query of a bucket or of an object. Raises Refused for a key that would name
    something else within an address."""
    if key:
        check(key)
    path = f"/{bucket}/{quote(key, safe='/~')}" if key else f"/{bucket}"
    # Percent-encoded throughout, as the signature has it.
    return f"{path}?{urlencode(asked, quote_via=quote, safe='')}" if asked else path


def check(key: str) -> None:
    """obstore would cut a slash at an end of the key without a word; others resolve dots."""
    if UNFIT.search(key) or any(part in ("", ".", "..") for part in key.split("/")):
        raise Refused("the object's key has no form that can be asked for", code="invalid_key")


def described(attributes: Mapping[str, str]) -> dict[str, str]:
    """The headers that store these beside the content."""
    check_attributes(attributes)
    return {
        name if name in FIELDS else f"{META}{name.lower()}": value
        for name, value in attributes.items()
    }


def check_attributes(attributes: Mapping[str, str]) -> None:
    """Another vendor's metadata may hold what no header can."""
    for name, value in attributes.items():
        if not NAME.fullmatch(name) or CONTROL.search(value):
            raise Refused("the object has metadata that S3 cannot hold", code="invalid_metadata")


def kept(manner: Manner) -> dict[str, str]:
    """The headers that ask for a storage class and for encryption: `AES256`, `aws:kms`, or
    `aws:kms:` and a key's id or ARN; likewise with `aws:kms:dsse`."""
    headers = {}
    if manner.storage_class:
        headers["x-amz-storage-class"] = manner.storage_class
    if manner.encryption:
        how, key = encryption(manner.encryption)
        headers["x-amz-server-side-encryption"] = how
        if key:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = key
    return headers


def encryption(given: str) -> tuple[str, str]:
    """The kind of encryption, and the key's name where one is given."""
    for how in (f"{KMS}:dsse", KMS):
        if given == how or given.startswith(f"{how}:"):
            return how, given[len(how) + 1 :]
    return given, ""


def conditions(expect: Expect) -> dict[str, str]:
    """The headers by which a write does nothing where something else stands."""
    return {"If-Match": f'"{expect.etag}"'} if expect.etag else {"If-None-Match": "*"}


def parts_of(tags: Mapping[int, str]) -> bytes:
    """The document that makes an object of its parts."""
    root = ElementTree.Element("CompleteMultipartUpload")
    for number in sorted(tags):
        part = ElementTree.SubElement(root, "Part")
        ElementTree.SubElement(part, "PartNumber").text = str(number)
        ElementTree.SubElement(part, "ETag").text = f'"{tags[number]}"'
    return ElementTree.tostring(root)


def doom_of(doomed: Mapping[str, str | None]) -> bytes:
    """The document that deletes keys, each only where its ETag is that one, if one is given."""
    root = ElementTree.Element("Delete")
    for key, etag in doomed.items():
        one = ElementTree.SubElement(root, "Object")
        ElementTree.SubElement(one, "Key").text = key
        if etag:
            ElementTree.SubElement(one, "ETag").text = f'"{etag}"'
    return ElementTree.tostring(root)


# --- what is answered


def document(answer: Response, kind: str) -> Element:
    """The answer's document of that kind, by how its name begins. Raises the error that stands in
    its place: of a copy, of an upload's end and of many deletes S3 may tell one with a 200."""
    root = _parsed(answer.body)
    name = "" if root is None else root.tag.rpartition("}")[2]
    if answer.status == 200 and root is not None and name.startswith(kind):
        return root
    code = "" if root is None else text(root, "Code")
    if answer.status != 200:
        raise answered(answer.status, code)
    if code:
        raise answered(STATUSES.get(code, 400), code)
    raise Unavailable("the vendor's answer cannot be read", code=UNREADABLE, status=200)


def succeeded(answer: Response) -> Response:
    """The answer, if it is a success. Raises the error that it tells."""
    if answer.status >= 300:
        root = _parsed(answer.body)
        raise answered(answer.status, "" if root is None else text(root, "Code"))
    return answer


def text(found: Element, name: str) -> str:
    return found.findtext(f"{{*}}{name}") or ""


def bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def decoder(page: Element) -> Callable[[str], str]:
    """How a listing's keys are read: some characters have no place in XML, so they are encoded as
    in forms, where the server does what it was asked for."""
    return unquote_plus if text(page, "EncodingType") == "url" else str


def listed(found: Element, decode: Callable[[str], str]) -> Stored:
    """A row of a listing. An ETag that looks like an MD5 is one, but for objects that are
    encrypted with a key of KMS or of the customer, which no listing tells."""
    told = {child.tag.rpartition("}")[2]: child.text or "" for child in found}
    etag = bare(told.get("ETag"))
    return Stored(
        key=decode(told["Key"]),
        size=int(told["Size"]),
        last_modified=datetime.fromisoformat(told["LastModified"]),
        etag=etag,
        digests={"md5": etag} if etag and MD5.fullmatch(etag) else {},
    )


def seen(key: str, headers: Mapping[str, str]) -> Stored:
    """An object as the headers of its HEAD tell it, by lower-case name."""
    at = headers.get("last-modified")
    fields = {name: headers[name.lower()] for name in FIELDS if name.lower() in headers}
    meta = {n.removeprefix(META): v for n, v in headers.items() if n.startswith(META)}
    return Stored(
        key,
        int(headers.get("content-length", 0)),
        parsedate_to_datetime(at) if at else None,
        bare(headers.get("etag")),
        headers.get("x-amz-version-id"),
        _digests(headers),
        fields | meta,
    )


def _digests(headers: Mapping[str, str]) -> dict[str, str]:
    """What S3 knows of the whole content; the checksum of checksums of a multipart object says
    nothing of it."""
    found = {}
    encrypted = headers.get("x-amz-server-side-encryption", "").startswith(KMS)
    customers = "x-amz-server-side-encryption-customer-algorithm" in headers
    etag = bare(headers.get("etag")) or ""
    if MD5.fullmatch(etag) and not encrypted and not customers:
        found["md5"] = etag
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
        for name in ("sha256", "crc32c", "crc64nvme"):
            if digest := _hex(headers.get(f"x-amz-checksum-{name}", "")):
                found[name] = digest
    return found


def _hex(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).hex()
    except binascii.Error:
        return ""


def _parsed(body: bytes) -> Element | None:
    try:
        # expat itself bounds what entities may grow to.
        return ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError:
        return None
