"""An S3 that keeps of each object only what a sync asks for again: size, MD5, metadata. The bytes
are read and summed, as a server must, and dropped, so that no contestant waits for a disk.

Put, list, head, delete and uploads in parts, with write conditions; signatures are not checked.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote
from xml.sax.saxutils import escape

import uvloop
from aiohttp import web

from bench.stored import PAGE_KEYS, Bucket, Stored, Upload

# Summed beside the loop, for which the thread lets others run.
LARGE = 256 * 1024
XML = "application/xml"
KEPT = ("content-type", "cache-control", "content-encoding", "x-amz-meta-")
NONE, CONFLICT, UPLOAD = "NoSuchKey", "PreconditionFailed", "NoSuchUpload"
STATUS = {NONE: 404, UPLOAD: 404, CONFLICT: 412}


buckets: dict[str, Bucket] = {}
numbers = itertools.count(1)


async def handle(request: web.Request) -> web.Response:
    name, _, key = request.path.lstrip("/").partition("/")
    bucket = buckets.setdefault(name, Bucket())
    if not key:
        return await _bucket(request, bucket)
    handler = HANDLERS.get((request.method, next(_asked(request), "")))
    return web.Response(status=501) if handler is None else await handler(request, bucket, key)


def _asked(request: web.Request) -> Iterator[str]:
    return (name for name in ("uploadId", "uploads") if name in request.query)


async def _bucket(request: web.Request, bucket: Bucket) -> web.Response:
    if request.method != "GET" or "location" in request.query:
        # That it is there, or be made.
        return web.Response(content_type=XML, text="<LocationConstraint/>")
    if "uploads" in request.query:
        return _xml("ListMultipartUploadsResult", "")
    return _list(request, bucket)


def _list(request: web.Request, bucket: Bucket) -> web.Response:
    """By the first or the second version of the request."""
    asked = request.query
    after = asked.get("continuation-token") or asked.get("start-after") or asked.get("marker", "")
    page, more = bucket.page(asked.get("prefix", ""), after, asked.get("delimiter", ""))
    written = quote if asked.get("encoding-type") == "url" else escape
    rows = "".join(_row(written(name), bucket.objects.get(name)) for name in page)
    url = "<EncodingType>url</EncodingType>" if written is quote else ""
    head = f"<KeyCount>{len(page)}</KeyCount><MaxKeys>{PAGE_KEYS}</MaxKeys>{url}"
    end = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    if more:
        token = escape(page[-1])
        end += f"<NextContinuationToken>{token}</NextContinuationToken>"
        end += f"<NextMarker>{written(page[-1])}</NextMarker>"
    return _xml("ListBucketResult", head + end + rows)


def _row(key: str, stored: Stored | None) -> str:
    if stored is None:
        return f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>"
    at = stored.at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{key}</Key><LastModified>{at}</LastModified>"
        f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{stored.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


async def _head(_: web.Request, bucket: Bucket, key: str) -> web.Response:
    if (stored := bucket.objects.get(key)) is None:
        return web.Response(status=404)
    headers = {
        **stored.metadata,
        "ETag": f'"{stored.etag}"',
        "Last-Modified": format_datetime(stored.at, usegmt=True),
        "Content-Length": str(stored.size),
    }
    return web.Response(headers=headers)


async def _put(request: web.Request, bucket: Bucket, key: str) -> web.Response:
    data = await _body(request)
    if refused := _refused(request, bucket, key):
        return refused
    return _stored(bucket, key, len(data), (await _md5(data)).hex(), _metadata(request))


async def _begin(request: web.Request, bucket: Bucket, key: str) -> web.Response:
    upload = f"upload-{next(numbers)}"
    bucket.uploads[upload] = Upload(key, _metadata(request))
    return _xml(
        "InitiateMultipartUploadResult", f"<Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
    )


async def _part(request: web.Request, bucket: Bucket, _: str) -> web.Response:
    data = await _body(request)
    digest = await _md5(data)
    if (upload := bucket.uploads.get(request.query["uploadId"])) is None:
        return _error(UPLOAD)
    upload.parts[int(request.query["partNumber"])] = (len(data), digest)
    return web.Response(headers={"ETag": f'"{digest.hex()}"'})


async def _complete(request: web.Request, bucket: Bucket, key: str) -> web.Response:
    await request.read()
    if refused := _refused(request, bucket, key):
        return refused
    if (upload := bucket.uploads.pop(request.query["uploadId"], None)) is None:
        return _error(UPLOAD)
    parts = [part for _, part in sorted(upload.parts.items())]
    whole = hashlib.md5(b"".join(digest for _, digest in parts)).hexdigest()
    etag = f"{whole}-{len(parts)}"
    _stored(bucket, key, sum(size for size, _ in parts), etag, upload.metadata)
    return _xml(
        "CompleteMultipartUploadResult",
        f"<Key>{escape(key)}</Key><ETag>&quot;{etag}&quot;</ETag>",
    )


def _stored(
    bucket: Bucket, key: str, size: int, etag: str, metadata: Mapping[str, str]
) -> web.Response:
    # In whole seconds, as it is told.
    at = datetime.now(UTC).replace(microsecond=0)
    bucket.put(key, Stored(size, etag, metadata, at))
    return web.Response(headers={"ETag": f'"{etag}"'})


def _refused(request: web.Request, bucket: Bucket, key: str) -> web.Response | None:
    """The answer where something else stands there than the request expects."""
    there = bucket.objects.get(key)
    expected = request.headers.get("if-match")
    if expected and (there is None or expected.strip('"') != there.etag):
        return _error(CONFLICT if there else NONE)
    return _error(CONFLICT) if there and "if-none-match" in request.headers else None


async def _body(request: web.Request) -> bytes:
    data = await request.read()
    if "aws-chunked" in request.headers.get("content-encoding", ""):
        return b"".join(_chunks(data))
    return data


def _chunks(data: bytes) -> Iterator[bytes]:
    """Each is its size in hex, maybe its signature, and its bytes; behind the empty one checksums
    follow."""
    start = 0
    while True:
        end = data.index(b"\r\n", start)
        if not (size := int(data[start:end].partition(b";")[0], 16)):
            return
        yield data[end + 2 : end + 2 + size]
        start = end + 2 + size + 2


async def _md5(data: bytes) -> bytes:
    if len(data) < LARGE:
        return hashlib.md5(data).digest()
    return await asyncio.to_thread(lambda: hashlib.md5(data).digest())


def _metadata(request: web.Request) -> dict[str, str]:
    found = ((name.lower(), value) for name, value in request.headers.items())
    return {
        name: value.replace("aws-chunked", "").strip(",")
        for name, value in found
        if name.startswith(KEPT)
    }


def _error(code: str) -> web.Response:
    return _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>", STATUS[code])


def _xml(root: str, inner: str, status: int = 200) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inner}</{root}>'
    return web.Response(status=status, content_type=XML, text=text)


async def _delete(_: web.Request, bucket: Bucket, key: str) -> web.Response:
    bucket.remove(key)
    return web.Response(status=204)


async def _abort(request: web.Request, bucket: Bucket, _: str) -> web.Response:
    bucket.uploads.pop(request.query["uploadId"], None)
    return web.Response(status=204)


HANDLERS: dict[tuple[str, str], Callable[[web.Request, Bucket, str], Awaitable[web.Response]]] = {
    ("HEAD", ""): _head,
    ("PUT", ""): _put,
    ("DELETE", ""): _delete,
    ("POST", "uploads"): _begin,
    ("PUT", "uploadId"): _part,
    ("POST", "uploadId"): _complete,
    ("DELETE", "uploadId"): _abort,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handle)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, print=None, access_log=None)


if __name__ == "__main__":
    main()
