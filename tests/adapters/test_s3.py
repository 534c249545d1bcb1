"""S3: what reaches a bucket, what comes back, and what each failure means."""

from __future__ import annotations

import base64
import gzip
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest

from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Repeat,
    Throttled,
    Unavailable,
    VendorError,
)
from adapters._http import Client, HttpCall
from adapters._storage import PART_BYTES, SHA256, Changed, Expect, Manner, Placed, Stored, Upload
from adapters.s3 import Adapter
from ferryman.policies import policy
from tests import moto
from tests.adapters.doubles import Notes
from tests.adapters.s3_double import AT, BUCKET, NOTHING, md5, settings, signature, stored, xml
from tests.contract.operations import Operation
from tests.faulty import CUT, OK, SILENT, answer, faulty

UPLOAD = Upload("key", "upload", PART_BYTES)


async def _put(call: HttpCall) -> object:
    return await Adapter().put(call, "bucket", "key", b"planted", {}, expect=NOTHING)


async def _copy(call: HttpCall) -> object:
    return await Adapter().copy(
        call, "bucket", "key", "origin", stored("k", etag="e"), {}, expect=NOTHING
    )


async def _begin(call: HttpCall) -> object:
    return await Adapter().begin(call, "bucket", "key", 9, {}, expect=NOTHING)


async def _part(call: HttpCall) -> object:
    return await Adapter().part(call, "bucket", UPLOAD, 1, 0, 7, b"planted")


async def _finish(call: HttpCall) -> object:
    return await Adapter().finish(call, "bucket", UPLOAD, {1: "e"}, expect=NOTHING)


async def _delete(call: HttpCall) -> object:
    return await Adapter().delete(call, "bucket", [stored("key", etag="e")])


# The job marks a sync once, not each of its objects; obstore keeps the time.
OPERATIONS = [
    Operation("put", _put, Repeat.NATURAL, marks_itself=False, timed=False),
    *(
        Operation(write.__name__.removeprefix("_"), write, Repeat.NATURAL, marks_itself=False)
        for write in (_copy, _begin, _part, _finish, _delete)
    ),
]
ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_SESSION_TOKEN": None,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket on a running server; the environment points at it."""
    settings(monkeypatch, s3_server)
    moto.reset(s3_server)
    moto.oracle(s3_server).create_bucket(Bucket=BUCKET)
    return s3_server


@pytest.fixture
def journal() -> Notes:
    return Notes()


@pytest.fixture
async def call(journal: Notes) -> AsyncIterator[HttpCall]:
    client = Client(policy("s3"))
    yield HttpCall("s3", client, policy("s3"), journal)
    await client.close()


async def put(call: HttpCall, key: str, data: bytes, **expect: str | None) -> Placed:
    return await Adapter().put(call, BUCKET, key, data, {}, expect=Expect(**expect))


async def listed(call: HttpCall, prefix: str = "", after: str = "") -> list[Stored]:
    pages = Adapter().pages(call, BUCKET, prefix, after)
    return [found async for page in pages for found in page]


# --- what the vendor holds


async def test_an_object_arrives_with_what_belongs_to_it(s3: str, call: HttpCall) -> None:
    key = "a/ü & +=%20*'(~).txt"
    given = {"Content-Type": "text/plain", "Cache-Control": "no-cache", SHA256: "ab" * 32}
    placed = await Adapter().put(call, BUCKET, key, b"hello", given, expect=NOTHING)

    found = moto.oracle(s3).get_object(Bucket=BUCKET, Key=key)
    assert found["Body"].read() == b"hello"
    assert (found["ContentType"], found["CacheControl"]) == ("text/plain", "no-cache")
    assert found["Metadata"] == {SHA256: "ab" * 32}
    assert placed == Placed(md5(b"hello"), None, {"md5": md5(b"hello")})
    assert found["ETag"] == f'"{placed.etag}"'
    known = await Adapter().look(call, BUCKET, key)
    assert known
    assert (known.key, known.size, known.attributes) == (key, 5, given)
    assert (known.etag, known.digests) == (placed.etag, placed.digests)


@pytest.mark.parametrize("size", [0, 5, PART_BYTES])
async def test_objects_come_back(s3: str, call: HttpCall, size: int) -> None:
    data = random.Random(7).randbytes(size)
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=data, Metadata={"k": "v"})
    (found,) = await listed(call)

    got = await Adapter().get(call, BUCKET, found)
    assert got.data == data
    assert (got.attributes or {})["k"] == "v"
    if size:
        piece = await Adapter().get(call, BUCKET, found, (1, size - 1))
        assert piece.data == data[1 : size - 1]


async def test_what_is_stored_as_gzip_comes_as_it_is_stored(s3: str, call: HttpCall) -> None:
    data = gzip.compress(b"hello" * 99)
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=data, ContentEncoding="gzip")
    (found,) = await listed(call)

    got = await Adapter().get(call, BUCKET, found)
    known = await Adapter().look(call, BUCKET, "k")
    assert got.data == data
    assert known
    assert known.size == len(data)
    assert known.attributes == got.attributes
    assert (got.attributes or {})["Content-Encoding"] == "gzip"


async def test_half_an_object_is_not_taken_for_it(s3: str, call: HttpCall) -> None:
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=b"hello")
    for size, span in ((6, None), (9, (3, 9))):
        with pytest.raises(Unavailable) as raised:
            await Adapter().get(call, BUCKET, stored("k", size), span)
        assert raised.value.code == "checksum_mismatch"


async def test_an_object_that_changed_since_it_was_listed_is_not_read(
    s3: str, call: HttpCall
) -> None:
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=b"first")
    (found,) = await listed(call)
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=b"other")

    with pytest.raises(Unavailable) as raised:
        await Adapter().get(call, BUCKET, found)
    assert raised.value.code == "source_changed"


async def test_a_named_version_is_read_though_another_stands_there(s3: str, call: HttpCall) -> None:
    client = moto.oracle(s3)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    placed = await put(call, "k", b"first")
    known = await Adapter().look(call, BUCKET, "k")
    await put(call, "k", b"other", etag=placed.etag)

    assert known
    assert known.version == placed.version is not None
    assert (await Adapter().get(call, BUCKET, known)).data == b"first"


async def test_what_is_not_there_is_looked_for_in_vain(s3: str, call: HttpCall) -> None:
    assert await Adapter().look(call, BUCKET, "k") is None


async def test_a_look_tells_the_checksums_of_the_whole_content(
    s3: str, call: HttpCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = moto.oracle(s3)
    made = client.put_object(Bucket=BUCKET, Key="k", Body=b"hello", ChecksumAlgorithm="SHA256")
    known = await Adapter().look(call, BUCKET, "k")
    assert known
    sha256 = base64.b64decode(made["ChecksumSHA256"]).hex()
    assert known.digests == {"md5": md5(b"hello"), "sha256": sha256}

    told = {"x_amz_checksum_crc64nvme": "q83vASNFZ4k=", "x_amz_checksum_type": "FULL_OBJECT"}
    async with faulty(answer(200, b"", ETag='"abc-3"', **told)) as vendor:
        settings(monkeypatch, vendor.url)
        known = await Adapter().look(call, BUCKET, "k")
    assert vendor.heads[0]["x-amz-checksum-mode"] == "ENABLED"
    assert known
    assert known.digests == {"crc64nvme": "abcdef0123456789"}


# What tells nothing of the whole content: a checksum of checksums, and the ETag of an object that
# is encrypted with a key of its own.
SILENT_HEADERS = [
    {"x_amz_checksum_sha256": "q83v-3", "ETag": '"abc-3"'},
    {"x_amz_checksum_crc32c": "q83vAQ==", "x_amz_checksum_type": "COMPOSITE", "ETag": '"abc-3"'},
    {"x_amz_server_side_encryption": "aws:kms", "ETag": f'"{"ab" * 16}"'},
    {"x_amz_server_side_encryption_customer_algorithm": "AES256", "ETag": f'"{"ab" * 16}"'},
]


@pytest.mark.parametrize("headers", SILENT_HEADERS)
async def test_what_is_no_digest_of_the_content_is_not_taken_for_one(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, headers: dict[str, str]
) -> None:
    async with faulty(answer(200, b"", **headers)) as vendor:
        settings(monkeypatch, vendor.url)
        known = await Adapter().look(call, BUCKET, "k")

    assert known
    assert known.digests == {}


# --- what stands at the target


async def test_nobody_elses_object_is_overwritten(s3: str, call: HttpCall) -> None:
    first = await put(call, "k", b"first")
    for etag in (None, "0" * 32):
        with pytest.raises(Changed) as raised:
            await put(call, "k", b"other", etag=etag)
        assert (raised.value.code, raised.value.status) == ("target_changed", 412)
    assert moto.holds(s3, BUCKET) == {"k": b"first"}

    await put(call, "k", b"other", etag=first.etag)
    assert moto.holds(s3, BUCKET) == {"k": b"other"}


@pytest.mark.parametrize("etag", [None, "0" * 32])
@pytest.mark.parametrize(
    ("status", "code"), [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")]
)
async def test_a_condition_leaves_as_it_is_meant_and_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, etag: str | None, status: int, code: str
) -> None:
    async with faulty(xml(status, code)) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(Changed) as raised:
            await put(call, "k", b"x", etag=etag)

    assert raised.value.status == status
    (head,) = vendor.heads
    assert (
        (head["if-none-match"], head["if-match"]) == ("*", None)
        if etag is None
        else (
            None,
            f'"{etag}"',
        )
    )


async def test_what_was_to_be_replaced_is_gone(s3: str, call: HttpCall) -> None:
    with pytest.raises(Changed):
        await put(call, "k", b"x", etag="0" * 32)
    with pytest.raises(Refused) as raised:
        await Adapter().put(call, "no-such-bucket", "k", b"x", {}, expect=Expect("0" * 32))
    assert raised.value.code == "bucket_not_found"


async def test_a_server_without_conditions_is_told_of(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(xml(501, "NotImplemented")) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(Misconfigured, match="conditional_writes"):
            await put(call, "k", b"x")


@pytest.fixture
def no_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = policy("s3").model_copy(update={"conditional_writes": False})
    for module in ("s3", "_s3_requests", "_s3_remote"):
        monkeypatch.setattr(f"adapters.{module}.policy", lambda _: numbers)


@pytest.mark.usefixtures("no_conditions")
async def test_without_conditions_a_look_before_the_write_has_to_do(
    s3: str, call: HttpCall, journal: Notes
) -> None:
    first = await put(call, "k", b"first")
    with pytest.raises(Changed):
        await put(call, "k", b"other")
    await put(call, "k", b"other", etag=first.etag)

    assert moto.holds(s3, BUCKET) == {"k": b"other"}
    asked = [one["method"] for one in journal.interactions]
    assert asked == ["HEAD", "PUT", "HEAD", "HEAD", "PUT"]


def stands_otherwise(**headers: str) -> tuple[bytes, ...]:
    """What is answered to a PUT of five bytes, and to a look at what then stands there."""
    tag = f'"{"ab" * 16}"'
    look = answer(200, b"12345", ETag=tag, **headers).removesuffix(b"12345")
    return answer(200, b"", ETag=tag), look


async def test_what_landed_otherwise_does_not_stay(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    gone = answer(200, b"<DeleteResult/>")
    async with faulty(*stands_otherwise(), gone) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(Unavailable) as raised:
            await put(call, "k", b"hello")

    assert raised.value.code == "checksum_mismatch"
    assert vendor.executed[1:] == [f"HEAD /{BUCKET}/k", f"POST /{BUCKET}?delete="]


async def test_an_etag_that_is_no_md5_is_no_mismatch(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(*stands_otherwise(x_amz_server_side_encryption="aws:kms")) as vendor:
        settings(monkeypatch, vendor.url)
        assert await put(call, "k", b"hello") == Placed("ab" * 16)

    assert len(vendor.executed) == 2


KEPT = [
    ("STANDARD_IA", "AES256", None),
    ("STANDARD_IA", "aws:kms", None),
    (
        None,
        "aws:kms:arn:aws:kms:eu-west-1:123456789012:key/k",
        "arn:aws:kms:eu-west-1:123456789012:key/k",
    ),
]


@pytest.mark.parametrize(("storage_class", "encryption", "key"), KEPT)
async def test_storage_class_and_encryption_are_asked_for(
    s3: str, call: HttpCall, storage_class: str | None, encryption: str, key: str | None
) -> None:
    adapter, manner = Adapter(), Manner(storage_class, encryption)
    placed = await adapter.put(call, BUCKET, "k", b"x", {}, expect=NOTHING, manner=manner)
    known = Stored("k", 1, AT, placed.etag)
    await adapter.copy(call, BUCKET, "c", BUCKET, known, {}, expect=NOTHING, manner=manner)
    upload = await adapter.begin(call, BUCKET, "u", 1, {}, expect=NOTHING, manner=manner)
    tags = {1: str(await adapter.part(call, BUCKET, upload, 1, 0, 1, b"x"))}
    await adapter.finish(call, BUCKET, upload, tags, expect=NOTHING)
    await adapter.put(call, BUCKET, "plain", b"x", {}, expect=NOTHING)

    client = moto.oracle(s3)
    for name in ("k", "c", "u"):
        found = client.head_object(Bucket=BUCKET, Key=name)
        assert found.get("StorageClass") == storage_class
        assert found["ServerSideEncryption"] == encryption[:7].removesuffix(":")
        assert key is None or found["SSEKMSKeyId"] == key
    plain = client.head_object(Bucket=BUCKET, Key="plain")
    assert (plain.get("StorageClass"), plain.get("SSEKMSKeyId")) == (None, None)


@pytest.mark.parametrize("given", [{"a b": "x"}, {"k": "two\nlines"}])
async def test_metadata_that_no_header_holds_is_refused(
    call: HttpCall, given: dict[str, str]
) -> None:
    for write in (
        Adapter().put(call, BUCKET, "k", b"x", given, expect=NOTHING),
        Adapter().begin(call, BUCKET, "k", 1, given, expect=NOTHING),
    ):
        with pytest.raises(Refused) as raised:
            await write
        assert raised.value.code == "invalid_metadata"


# --- listing


async def test_a_listing_has_every_page_in_order(
    s3: str, call: HttpCall, journal: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.s3.PAGE_KEYS", 3)
    client = moto.oracle(s3)
    keys = [f"p/{number}" for number in range(7)]
    for key in [*keys, "pq/other"]:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x")

    found = await listed(call, "p/")

    assert [one.key for one in found] == keys
    assert len(journal.interactions) == 3
    assert {one.size for one in found} == {1}
    assert found[0].etag == md5(b"x")
    assert found[0].digests == {"md5": md5(b"x")}
    assert abs((datetime.now(UTC) - (found[0].last_modified or AT)).total_seconds()) < 60


async def test_a_listing_goes_on_after_a_key(
    s3: str, call: HttpCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.s3.PAGE_KEYS", 2)
    for key in ("p/a", "p/b + ü", "p/c", "p/d", "p/e"):
        moto.oracle(s3).put_object(Bucket=BUCKET, Key=key, Body=b"x")

    assert [one.key for one in await listed(call, "p/", "p/b + ü")] == ["p/c", "p/d", "p/e"]
    assert await listed(call, "p/", "p/e") == []


HOSTILE = ["/abs", "p/../out", "p/./dot", "p//empty", "p/back\\slash", "p/tab\there", "p/ü +%20"]


async def test_hostile_keys_are_listed_beside_the_others(s3: str, call: HttpCall) -> None:
    for key in [*HOSTILE, "p/good"]:
        moto.oracle(s3).put_object(Bucket=BUCKET, Key=key, Body=b"x")

    assert {one.key for one in await listed(call)} == {*HOSTILE, "p/good"}


@pytest.mark.parametrize("key", ["p/../out", "p/.", "/abs", "p//empty", "end/", "tab\t", ".."])
async def test_a_key_that_cannot_be_asked_for_is_refused(
    s3: str, call: HttpCall, journal: Notes, key: str
) -> None:
    adapter, one = Adapter(), stored(key, etag="e")
    refused = await adapter.delete(call, BUCKET, [one])
    assert refused[key].code == "invalid_key"
    for ask in (
        put(call, key, b"x"),
        adapter.look(call, BUCKET, key),
        adapter.get(call, BUCKET, one),
        adapter.begin(call, BUCKET, key, 1, {}, expect=NOTHING),
        adapter.copy(call, BUCKET, "k", BUCKET, one, {}, expect=NOTHING),
    ):
        with pytest.raises(Refused) as raised:
            await ask
        assert raised.value.code == "invalid_key"
    assert journal.interactions == []


# --- what goes wrong


@pytest.mark.parametrize("operation", ["list", "put", "get"])
async def test_an_unknown_bucket_is_refused(s3: str, call: HttpCall, operation: str) -> None:
    with pytest.raises(Refused) as raised:
        await do(operation, call, "no-such-bucket")
    assert raised.value.code == "bucket_not_found"


async def do(operation: str, call: HttpCall, bucket: str = BUCKET) -> None:
    match operation:
        case "list":
            async for _ in Adapter().pages(call, bucket, ""):
                pass
        case "put":
            await Adapter().put(call, bucket, "k", b"x", {}, expect=NOTHING)
        case "get":
            await Adapter().get(call, bucket, stored("k"))


FAULTS: list[tuple[bytes | str, type[VendorError], str]] = [
    (xml(500, "InternalError"), Unavailable, "vendor_unavailable"),
    (xml(503, "SlowDown"), Unavailable, "vendor_unavailable"),
    (answer(502, b"<html>"), Unavailable, "vendor_unavailable"),
    (xml(400, "RequestTimeout"), Unavailable, "vendor_unavailable"),
    (xml(429, "TooManyRequests"), Throttled, "rate_limited"),
    (xml(403, "AccessDenied"), Refused, "access_denied"),
    (xml(403, "SignatureDoesNotMatch"), Misconfigured, "misconfigured"),
    (answer(401, b""), Misconfigured, "misconfigured"),
    (xml(400, "ExpiredToken"), Misconfigured, "misconfigured"),
    (xml(400, "EntityTooLarge"), Refused, "refused"),
    (xml(400, "XAmzContentSHA256Mismatch"), Unavailable, "checksum_mismatch"),
    (xml(403, "InvalidObjectState"), Refused, "archived"),
    (xml(301, "PermanentRedirect"), Refused, "bucket_elsewhere"),
    (SILENT, Unavailable, "timeout"),
    (CUT, Unavailable, "connection_lost"),
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor is given half a second."""
    numbers = policy("s3").model_copy(update={"timeout_seconds": 0.5, "connect_seconds": 0.5})
    monkeypatch.setattr("adapters.s3.policy", lambda _: numbers)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("step", "error", "code"), FAULTS)
@pytest.mark.parametrize("operation", ["put", "get"])
async def test_each_fault_becomes_the_error_that_names_what_follows(
    monkeypatch: pytest.MonkeyPatch,
    call: HttpCall,
    journal: Notes,
    step: bytes | str,
    error: type[VendorError],
    code: str,
    operation: str,
) -> None:
    async with faulty(step) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(VendorError) as raised:
            await do(operation, call)

    assert (type(raised.value), raised.value.code) == (error, code)
    # Nothing but the job retries.
    assert len(vendor.executed) == 1
    assert len(journal.interactions) == 1


@pytest.mark.parametrize(
    ("step", "error"),
    [(step, error) for step, error, _ in FAULTS if step not in (SILENT, CUT)],
)
async def test_a_listing_fails_alike(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, step: bytes, error: type[VendorError]
) -> None:
    async with faulty(step) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(error):
            await do("list", call)


@pytest.mark.parametrize("operation", ["list", "put", "get"])
async def test_a_refused_connection_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, operation: str
) -> None:
    settings(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(NotSent):
        await do(operation, call)


async def test_a_listing_that_is_no_listing_is_not_taken_for_an_empty_bucket(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(OK) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(Unavailable):
            await do("list", call)


# --- who asks


@pytest.mark.parametrize("token", ["", "session/token+="])
async def test_a_listing_is_signed_as_the_server_reads_it(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, token: str
) -> None:
    async with faulty(xml(404, "NoSuchBucket")) as vendor:
        settings(monkeypatch, vendor.url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
        with pytest.raises(Refused):
            await listed(call, "ü a+b&c=d/~")

    path, _, query = vendor.executed[0].removeprefix("GET ").partition("?")
    asked, head = dict(parse_qsl(query, strict_parsing=True)), vendor.heads[0]
    assert (path, asked["prefix"]) == (f"/{BUCKET}", "ü a+b&c=d/~")
    # A plus sign means a space to some servers, and itself to others.
    assert "+" not in query
    assert head.get("x-amz-security-token", "") == token
    assert signature(f"{vendor.url}{path}", asked, head) in head["authorization"]


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("operation", ["list", "put"])
async def test_a_missing_key_is_named(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, name: str, operation: str
) -> None:
    async with faulty() as vendor:
        settings(monkeypatch, vendor.url)
        monkeypatch.delenv(name)
        with pytest.raises(Misconfigured, match=f"{name} is not set"):
            await do(operation, call)

    assert vendor.executed == []


async def test_no_credential_stays_in_what_is_kept(
    s3: str, call: HttpCall, journal: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = {
        "AWS_ACCESS_KEY_ID": "planted-id",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_SESSION_TOKEN": "planted-token",
    }
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    await put(call, "a b", b"hello")
    await listed(call)
    with pytest.raises(Refused):
        await do("get", call)

    kept = [f"{one['method']} {one['url']}" for one in journal.interactions]
    assert kept[0] == f"PUT {s3}/{BUCKET}/a%20b"
    assert [one["status_code"] for one in journal.interactions] == [200, 200, 404]
    assert not re.search("planted|[Ss]ignature", repr(journal.interactions))


EXITS_AT_ONCE = """
import asyncio, sys
from obstore.store import S3Store
from adapters._s3_obstore import Bucket

class Call:
    async def pace(self): pass
    def saw(self, interaction): pass

async def main(url, bucket):
    config = {"endpoint": url, "access_key_id": "x", "secret_access_key": "y", "region": "x"}
    store = S3Store(bucket, config=config, client_options={"allow_http": True})
    one = Bucket(store, "s3", url)
    await asyncio.gather(*(one.put(Call(), f"k{n}", b"x", {}, None) for n in range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_process_that_ends_right_after_an_operation_ends_well(s3: str) -> None:
    # Unguarded, about one in five aborts.
    command = [sys.executable, "-c", EXITS_AT_ONCE, s3, BUCKET]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(10)]
    assert [(process.communicate()[1], process.returncode) for process in started] == [
        (b"", 0)
    ] * 10
