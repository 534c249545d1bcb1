"""S3's uploads in parts: begun, taken up again, finished under a condition, dropped."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from adapters._base import Misconfigured, Refused, Unavailable, VendorError
from adapters._http import Client, HttpCall
from adapters._storage import PART_BYTES, Changed, Expect, Received, Storage, Upload
from adapters.s3 import Adapter
from ferryman.policies import policy
from tests import moto
from tests.adapters.doubles import Notes
from tests.adapters.s3_double import BUCKET, NOTHING, settings, signature, xml
from tests.faulty import answer, faulty

KEY = "a/ü & +=%20*'(~).bin"
# S3 takes no smaller part but the last.
LEAST = 5 * 1024 * 1024
DATA = random.Random(7).randbytes(2 * LEAST + 9)
PARTS = {1: DATA[:LEAST], 2: DATA[LEAST : 2 * LEAST], 3: DATA[2 * LEAST :]}


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket, by another's client."""
    settings(monkeypatch, s3_server)
    moto.reset(s3_server)
    client = moto.oracle(s3_server)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
async def call() -> AsyncIterator[HttpCall]:
    client = Client(policy("s3"))
    yield HttpCall("s3", client, policy("s3"), Notes())
    await client.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as small as S3 takes them."""
    monkeypatch.setattr("adapters._s3_uploads.PART_BYTES", LEAST)


async def begun(call: HttpCall, key: str = KEY, **attributes: str) -> Upload:
    return await Adapter().begin(call, BUCKET, key, len(DATA), attributes, expect=NOTHING)


async def send(call: HttpCall, upload: Upload, *numbers: int) -> dict[int, str]:
    async def one(number: int) -> str:
        offset = (number - 1) * LEAST
        adapter: Storage = Adapter()
        told = await adapter.part(call, BUCKET, upload, number, offset, len(DATA), PARTS[number])
        assert isinstance(told, str)
        return told

    return dict(zip(numbers, await asyncio.gather(*map(one, numbers)), strict=True))


def pending(s3: Any) -> list[str]:
    return [one["UploadId"] for one in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]


# --- from begin to end


@pytest.mark.usefixtures("small")
async def test_parts_in_any_order_become_the_object(s3: Any, call: HttpCall) -> None:
    upload = await begun(call, **{"Content-Type": "text/plain", "ferryman-sha256": "ab"})
    assert (upload.key, upload.part_bytes) == (KEY, LEAST)
    tags = await send(call, upload, 3, 1, 2)
    placed = await Adapter().finish(call, BUCKET, upload, tags, expect=NOTHING)

    found = s3.get_object(Bucket=BUCKET, Key=KEY)
    assert found["Body"].read() == DATA
    assert found["ETag"] == f'"{placed.etag}"'
    assert (found["ContentType"], found["Metadata"]) == ("text/plain", {"ferryman-sha256": "ab"})
    assert tags[3] == hashlib.md5(PARTS[3], usedforsecurity=False).hexdigest()
    assert pending(s3) == []


@pytest.mark.usefixtures("small")
async def test_another_run_sends_only_what_is_missing(s3: Any, call: HttpCall) -> None:
    upload = await begun(call)
    sent = await send(call, upload, 1, 3)
    # A part that broke off, as another program might leave it: not as long as it should be.
    where = {"Bucket": BUCKET, "Key": KEY, "UploadId": upload.id}
    s3.upload_part(**where, PartNumber=2, Body=b"half")

    assert await Adapter().received(call, BUCKET, upload, len(DATA)) == Received(sent)
    sent |= await send(call, upload, 2)
    assert await Adapter().received(call, BUCKET, upload, len(DATA)) == Received(sent)
    await Adapter().finish(call, BUCKET, upload, sent, expect=NOTHING)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == DATA


def test_no_object_has_more_parts_than_s3_takes() -> None:
    part_bytes = Adapter().part_bytes
    assert part_bytes(9) == part_bytes(512 * 1024**2) == PART_BYTES
    most = 5 * 1024**4
    assert most / 10_000 < part_bytes(most) < 5 * 1024**3


async def test_a_dropped_upload_is_gone(s3: Any, call: HttpCall) -> None:
    upload = await begun(call)
    for _ in range(2):
        await Adapter().abort(call, BUCKET, upload)

    assert pending(s3) == []
    assert await Adapter().received(call, BUCKET, upload, 1) is None


async def test_uploads_of_exactly_that_key_are_listed(s3: Any, call: HttpCall) -> None:
    ours = {(await begun(call)).id for _ in range(3)}
    for other in (KEY + "2", KEY + "/below", "another"):
        await begun(call, other)

    found = await Adapter().uploads(call, BUCKET, KEY)
    assert {one.id for one in found} == ours
    now = datetime.now(UTC)
    assert all(one.begun_at and abs((now - one.begun_at).total_seconds()) < 60 for one in found)
    assert await Adapter().uploads(call, BUCKET, KEY[:-1]) == []


# --- conditions


@pytest.mark.usefixtures("small")
async def test_nobody_elses_object_is_overwritten(s3: Any, call: HttpCall) -> None:
    upload = await begun(call)
    tags = await send(call, upload, 1, 2, 3)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"first")

    with pytest.raises(Changed):
        await Adapter().finish(call, BUCKET, upload, tags, expect=NOTHING)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"first"
    assert pending(s3) == [upload.id]


UPLOAD = Upload("k", "u/+ =", PART_BYTES)
DONE = (
    b'<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<ETag>&quot;whole-1&quot;</ETag></CompleteMultipartUploadResult>"
)


async def finish(call: HttpCall, etag: str | None = None) -> str | None:
    tags = {2: "b" * 32, 1: "a" * 32}
    return (await Adapter().finish(call, BUCKET, UPLOAD, tags, expect=Expect(etag))).etag


@pytest.mark.parametrize(
    ("etag", "header", "told"), [(None, "if-none-match", "*"), ("e", "if-match", '"e"')]
)
async def test_the_end_is_conditional(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, etag: str | None, header: str, told: str
) -> None:
    async with faulty(answer(200, DONE, x_amz_version_id="v1")) as vendor:
        settings(monkeypatch, vendor.url)
        assert await finish(call, etag) == "whole-1"

    (head,) = vendor.heads
    assert head[header] == told
    assert len({"if-match", "if-none-match"} & {name.lower() for name in head}) == 1
    assert header in head["authorization"]


# S3 may tell an error after it has begun with a 200, to keep the connection.
ENDS: list[tuple[int, str, type[VendorError], str]] = [
    (200, "InternalError", Unavailable, "vendor_unavailable"),
    (200, "SlowDown", Unavailable, "vendor_unavailable"),
    (200, "PreconditionFailed", Changed, "target_changed"),
    (412, "PreconditionFailed", Changed, "target_changed"),
    (409, "ConditionalRequestConflict", Changed, "target_changed"),
    (404, "NoSuchKey", Changed, "target_changed"),
    (404, "NoSuchUpload", Refused, "upload_gone"),
    (404, "NoSuchBucket", Refused, "bucket_not_found"),
    (400, "InvalidPart", Unavailable, "vendor_unavailable"),
    (400, "EntityTooSmall", Refused, "refused"),
    (501, "NotImplemented", Misconfigured, "misconfigured"),
]


@pytest.mark.parametrize(("status", "told", "error", "code"), ENDS)
async def test_each_end_that_is_none_is_called_by_what_follows(
    monkeypatch: pytest.MonkeyPatch,
    call: HttpCall,
    status: int,
    told: str,
    error: type[VendorError],
    code: str,
) -> None:
    async with faulty(xml(status, told)) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(VendorError) as raised:
            await finish(call)

    assert (type(raised.value), raised.value.code) == (error, code)
    assert len(vendor.executed) == 1


@pytest.mark.parametrize("broken", [b"", b"   ", DONE[:-9], b"<html></html>"])
async def test_an_end_that_broke_off_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, broken: bytes
) -> None:
    both = bytes.fromhex("a" * 32 + "b" * 32)
    ours = f"{hashlib.md5(both, usedforsecurity=False).hexdigest()}-2"
    looks = [answer(200, b"", ETag=f'"{tag}"') for tag in (ours, "other-2")]
    looks.append(answer(404, b""))
    script = [step for look in looks for step in (answer(200, broken), look)]
    async with faulty(*script) as vendor:
        settings(monkeypatch, vendor.url)
        assert await finish(call) == ours
        for _ in range(2):
            with pytest.raises(Unavailable):
                await finish(call)


async def test_a_part_of_an_upload_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(xml(404, "NoSuchUpload")) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(Refused) as raised:
            await Adapter().part(call, BUCKET, UPLOAD, 1, 0, 1, b"x")
    assert raised.value.code == "upload_gone"


async def test_a_part_is_signed_with_the_sum_that_it_must_have(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    """Not with that of the bytes at hand: other bytes than those that were summed are refused."""
    sum_before = hashlib.sha256(b"before").hexdigest()
    async with faulty(xml(400, "XAmzContentSHA256Mismatch")) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(Unavailable) as raised:
            await Adapter().part(call, BUCKET, UPLOAD, 1, 0, 1, b"x", sha256=sum_before)

    assert raised.value.code == "checksum_mismatch"
    assert vendor.heads[0]["x-amz-content-sha256"] == sum_before


async def test_what_is_no_answer_is_none(monkeypatch: pytest.MonkeyPatch, call: HttpCall) -> None:
    async with faulty(*[answer(200, b"<Error><Code>SlowDown</Code></Error>")] * 3) as vendor:
        settings(monkeypatch, vendor.url)
        for ask in (
            begun(call),
            Adapter().received(call, BUCKET, UPLOAD, 1),
            Adapter().part(call, BUCKET, UPLOAD, 1, 0, 1, b"x"),
        ):
            with pytest.raises(Unavailable):
                await ask


# --- pages


def listing(kind: str, inner: str, more: str = "") -> bytes:
    cut = f"<IsTruncated>true</IsTruncated>{more}" if more else "<IsTruncated>false</IsTruncated>"
    return answer(200, f"<{kind}>{cut}{inner}</{kind}>".encode())


async def test_every_page_of_parts_is_read(monkeypatch: pytest.MonkeyPatch, call: HttpCall) -> None:
    def part(number: int) -> str:
        return f"<Part><PartNumber>{number}</PartNumber><ETag>e{number}</ETag><Size>2</Size></Part>"

    next_page = "<NextPartNumberMarker>1</NextPartNumberMarker>"
    script = (
        listing("ListPartsResult", part(1), next_page),
        listing("ListPartsResult", part(2)),
    )
    upload = Upload("k", "u/+ =", 2)
    async with faulty(*script) as vendor:
        settings(monkeypatch, vendor.url)
        received = await Adapter().received(call, BUCKET, upload, 4)

    assert received == Received({1: "e1", 2: "e2"})
    assert asked(vendor.executed) == [
        {"uploadId": "u/+ ="},
        {"uploadId": "u/+ =", "part-number-marker": "1"},
    ]


async def test_every_page_of_uploads_is_read(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    def upload(key: str, number: int) -> str:
        at = "<Initiated>2026-11-28T00:00:00.000Z</Initiated>"
        return f"<Upload><Key>{key}</Key><UploadId>{number}</UploadId>{at}</Upload>"

    kind = "ListMultipartUploadsResult"
    encoded = "<EncodingType>url</EncodingType>"
    markers = "<NextKeyMarker>k+%C3%BC</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>"
    script = (
        listing(kind, upload("k+%C3%BC", 1) + encoded, markers),
        listing(kind, upload("k+%C3%BC", 2) + upload("k+%C3%BC2", 3) + encoded),
    )
    async with faulty(*script) as vendor:
        settings(monkeypatch, vendor.url)
        found = await Adapter().uploads(call, BUCKET, "k ü")

    assert [one.id for one in found] == ["1", "2"]
    first, second = asked(vendor.executed)
    assert first == {"uploads": "", "encoding-type": "url", "prefix": "k ü"}
    assert second == first | {"key-marker": "k ü", "upload-id-marker": "1"}


def asked(executed: list[str]) -> list[dict[str, str]]:
    return [dict(parse_qsl(one.partition("?")[2], keep_blank_values=True)) for one in executed]


# --- who asks


@pytest.mark.parametrize("size", [0, 9, 3 * 128 * 1024])
async def test_a_part_is_signed_with_its_content(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, size: int
) -> None:
    data = random.Random(7).randbytes(size)
    async with faulty(answer(200, b"", ETag='"e"')) as vendor:
        settings(monkeypatch, vendor.url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert await Adapter().part(call, BUCKET, UPLOAD, 7, 0, size, data) == "e"

    (head,) = vendor.heads
    assert head["x-amz-content-sha256"] == hashlib.sha256(data).hexdigest()
    assert head["content-length"] == str(size)
    path, _, query = vendor.executed[0].removeprefix("PUT ").partition("?")
    params = dict(parse_qsl(query))
    assert params == {"partNumber": "7", "uploadId": "u/+ ="}
    assert signature(f"{vendor.url}{path}", params, head, "PUT") in head["authorization"]
