"""Cloud Storage: what reaches a bucket, what comes back, and what each failure means."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

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
from adapters._storage import PART_BYTES, SHA256, Changed, Expect, Manner, Stored
from adapters.gcs import Adapter
from ferryman.policies import policy
from tests import gcs
from tests.adapters.doubles import Notes
from tests.adapters.gcs_parts import AT, NOTHING, VARIABLE, do, listed, put, read, said, stored
from tests.contract.operations import Operation
from tests.faulty import CUT, OK, SILENT, answer, faulty
from tests.strict_gcs import Strict, strict_gcs

WRITES = ("put", "begin", "copy")
READS = ("list", "look", "get")


def _operation(name: str) -> Operation:
    async def run(call: HttpCall) -> None:
        await do(name, call)

    # The job marks a sync once, not each of its objects.
    return Operation(name, run, Repeat.NATURAL, marks_itself=False, open=True)


OPERATIONS = [_operation(name) for name in WRITES]
# Each test that wants credentials makes them.
ENVIRONMENT = {VARIABLE: None}


@pytest.fixture
def server(gcs_server: str) -> str:
    return gcs_server


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket on a running server; the environment points at it."""
    monkeypatch.setenv("GCS_BASE_URL", server)
    return gcs.new_bucket(server)


@pytest.fixture
async def strict(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Strict]:
    async with strict_gcs() as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        yield vendor


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def journal() -> Notes:
    return Notes()


@pytest.fixture
async def call(journal: Notes) -> AsyncIterator[HttpCall]:
    client = Client(policy("gcs"))
    yield HttpCall("gcs", client, policy("gcs"), journal)
    await client.close()


# --- what the vendor holds


async def test_an_object_arrives_with_what_belongs_to_it(
    server: str, bucket: str, call: HttpCall
) -> None:
    key, given = "a/ü & +=%20.txt", {"Content-Type": "text/plain", "Cache-Control": "no-cache"}
    given[SHA256] = "ab" * 32
    placed = await put(call, bucket, key, b"hello\r\n\0", given)

    told = gcs.told(server, bucket, key)
    assert gcs.holds(server, bucket) == {key: b"hello\r\n\0"}
    assert (told["contentType"], told["cacheControl"]) == ("text/plain", "no-cache")
    assert told["metadata"] == {SHA256: "ab" * 32}
    assert (placed.version, placed.etag) == (told["generation"], placed.digests["md5"])
    assert placed.digests == {
        "md5": base64.b64decode(told["md5Hash"]).hex(),
        "crc32c": base64.b64decode(told["crc32c"]).hex(),
    }
    (found,) = await listed(call, bucket)
    assert found.attributes == given
    assert (found.version, found.etag, found.digests) == (
        placed.version,
        placed.etag,
        placed.digests,
    )
    assert await Adapter().look(call, bucket, key) == found
    assert await Adapter().look(call, bucket, "another") is None


async def test_small_large_and_composed_objects_come_back(
    server: str, bucket: str, call: HttpCall
) -> None:
    large = os.urandom(PART_BYTES + 4)
    held = {"empty": b"", "small": b"hello", "large": large}
    for key, data in held.items():
        gcs.put(server, bucket, key, data, metadata={"k": key})
    gcs.compose(server, bucket, "whole", "small", "small")

    found = {one.key: one for one in await listed(call, bucket)}

    assert {key: await read(call, bucket, one) for key, one in found.items()} == {
        **held,
        "whole": b"hellohello",
    }
    assert found["large"].attributes == {"Content-Type": "application/octet-stream", "k": "large"}


async def test_what_has_no_md5_is_known_by_its_generation(strict: Strict, call: HttpCall) -> None:
    made = strict.put("composed", b"x")
    del made["md5Hash"]

    (found,) = await listed(call, "bucket")

    assert (found.etag, found.version, list(found.digests)) == (
        made["generation"],
        made["generation"],
        ["crc32c"],
    )


async def test_a_span_of_an_object_comes_alone(server: str, bucket: str, call: HttpCall) -> None:
    gcs.put(server, bucket, "k", b"0123456789")
    (found,) = await listed(call, bucket)

    spans = [(0, 4), (4, 10), (9, 10), (0, 10)]
    pieces = [await Adapter().get(call, bucket, found, span) for span in spans]
    assert [piece.data for piece in pieces] == [b"0123", b"456789", b"9", b"0123456789"]


async def test_what_is_stored_packed_stays_packed(server: str, bucket: str, call: HttpCall) -> None:
    packed = gzip.compress(b"hello" * 100)
    gcs.put(server, bucket, "k", packed, contentEncoding="gzip", contentType="text/plain")

    (found,) = await listed(call, bucket)

    assert await read(call, bucket, found) == packed
    assert (found.attributes or {})["Content-Encoding"] == "gzip"


async def test_an_object_that_changed_since_it_was_listed_is_not_read(
    server: str, bucket: str, call: HttpCall
) -> None:
    gcs.put(server, bucket, "k", b"first")
    (found,) = await listed(call, bucket)
    gcs.put(server, bucket, "k", b"other")

    with pytest.raises(Unavailable) as raised:
        await read(call, bucket, found)
    assert raised.value.code == "source_changed"


async def test_another_emulator_understands_it_too(
    call: HttpCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, given = os.urandom(PART_BYTES + 3), {"Content-Type": "text/plain", SHA256: "ab" * 32}
    storage = Adapter()
    with gcs.running_other() as url:
        monkeypatch.setenv("GCS_BASE_URL", url)
        bucket = gcs.new_bucket(url)
        for key in ("z", "a/b", "a.txt", "p/ü +%20"):
            await put(call, bucket, key, key.encode(), given)
        begun = await storage.begin(call, bucket, "large", len(large), given, expect=NOTHING)
        await storage.part(call, bucket, begun, 1, 0, len(large), large[:PART_BYTES])
        held = await storage.received(call, bucket, begun, len(large))
        assert held is not None
        tail = large[PART_BYTES:]
        await storage.part(call, bucket, begun, 2, PART_BYTES, len(large), tail)
        await storage.abort(call, bucket, begun)
        assert await storage.delete(call, bucket, [stored("z")]) == {}

        found = await listed(call, bucket)
        assert [one.key for one in found] == ["a.txt", "a/b", "large", "p/ü +%20"]
        for one in found:
            data = large if one.key == "large" else one.key.encode()
            assert await read(call, bucket, one) == data
            assert one.attributes == given
        with pytest.raises(Refused, match="no bucket"):
            await listed(call, "no-such-bucket")


# --- listing


async def test_a_listing_has_every_page_in_order(
    server: str, bucket: str, call: HttpCall, journal: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.gcs.PAGE_KEYS", 3)
    keys = [f"p/{number}" for number in range(7)]
    for key in [*reversed(keys), "pq/other"]:
        gcs.put(server, bucket, key, b"x")

    found = await listed(call, bucket, "p/")

    assert [one.key for one in found] == keys
    assert len(journal.interactions) == 3
    assert {one.size for one in found} == {1}
    assert abs((datetime.now(UTC) - (found[0].last_modified or AT)).total_seconds()) < 60


@pytest.mark.parametrize("stands", [True, False])
async def test_a_listing_goes_on_after_a_key_whether_or_not_it_is_still_there(
    strict: Strict, call: HttpCall, monkeypatch: pytest.MonkeyPatch, stands: bool
) -> None:
    monkeypatch.setattr("adapters.gcs.PAGE_KEYS", 2)
    for key in ("p/a", "p/ü", "p/ﬀ", "p/🜁", "q"):
        strict.put(key, b"x")
    if not stands:
        del strict.objects["bucket", "p/ü"]

    found = await listed(call, "bucket", "p/", "p/ü")

    assert [one.key for one in found] == ["p/ﬀ", "p/🜁"]
    assert all("startOffset=p/ü" in asked for asked in strict.asked)


HOSTILE = ["/abs", "p/../out", "p/./dot", "p//empty", "p/back\\slash", "p/tab\there", "p/ü +%20"]


async def test_hostile_keys_are_listed_beside_the_others_and_name_themselves_alone(
    server: str, bucket: str, call: HttpCall
) -> None:
    for key in [*HOSTILE, "p/good"]:
        await put(call, bucket, key, key.encode())

    found = await listed(call, bucket)
    assert {one.key for one in found} == {*HOSTILE, "p/good"}
    assert {await read(call, bucket, one) for one in found} == {one.key.encode() for one in found}
    assert await Adapter().delete(call, bucket, found) == {}
    assert gcs.holds(server, bucket) == {}


@pytest.mark.parametrize("key", ["", ".", ".."])
async def test_a_key_that_cannot_be_asked_for_is_refused(
    bucket: str, call: HttpCall, key: str, journal: Notes
) -> None:
    with pytest.raises(Refused) as raised:
        await put(call, bucket, key, b"x")
    failed = await Adapter().delete(call, bucket, [stored(key)])

    assert [raised.value.code, failed[key].code] == ["invalid_key", "invalid_key"]
    assert journal.interactions == []


# --- what others write meanwhile


async def test_a_write_needs_what_was_expected(server: str, bucket: str, call: HttpCall) -> None:
    first = await put(call, bucket, "k", b"first")
    seen = Expect(first.etag, first.version)
    second = await put(call, bucket, "k", b"second", expect=seen)

    for late in (NOTHING, seen, Expect(first.etag)):
        with pytest.raises(Changed) as raised:
            await put(call, bucket, "k", b"third", expect=late)
        assert raised.value.code == "target_changed"
    assert gcs.holds(server, bucket) == {"k": b"second"}
    assert second.version != first.version


async def test_only_what_is_as_listed_is_deleted(strict: Strict, call: HttpCall) -> None:
    for number in range(40):
        strict.put(f"{number:02}", b"x")
    found = await listed(call, "bucket")
    strict.put("07", b"of another")
    del strict.objects["bucket", "08"]

    failed = await Adapter().delete(call, "bucket", found)

    assert {key: type(error) for key, error in failed.items()} == {"07": Changed}
    assert strict.holds() == {"07": b"of another"}
    assert 8 < strict.most <= 16


async def test_a_delete_stops_where_every_other_would_meet_the_same(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    doomed = [stored(str(number), version="1") for number in range(100)]
    async with faulty(*[said(401, "authError")] * 100) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        failed = await Adapter().delete(call, "bucket", doomed)

    assert len(vendor.executed) <= 32
    assert sorted(failed) == sorted(one.key for one in doomed)
    assert {type(error) for error in failed.values()} == {Misconfigured}


# --- copies within the cloud


async def test_an_object_is_copied_without_travelling(
    server: str, bucket: str, call: HttpCall, journal: Notes
) -> None:
    gcs.put(server, bucket, "a b", b"hello", contentType="text/plain")
    (found,) = await listed(call, bucket)
    other = gcs.new_bucket(server)

    placed = await Adapter().copy(
        call, other, "p/k", bucket, found, {"owner": "me"}, expect=NOTHING
    )

    told = gcs.told(server, other, "p/k")
    assert gcs.holds(server, other) == {"p/k": b"hello"}
    assert placed is not None
    assert placed.version == told["generation"]
    assert told["metadata"] == {"owner": "me"}
    assert len(journal.interactions) == 2


async def test_a_copy_in_several_steps_ends_and_minds_both_sides(
    strict: Strict, call: HttpCall
) -> None:
    strict.put("k", b"hello", "source")
    (found,) = await listed(call, "source")
    given = {"Content-Type": "text/plain", SHA256: "ab" * 32}
    key, kept = "projects/p/locations/l/keyRings/r/cryptoKeys/k", Manner("NEARLINE")
    manner = Manner("NEARLINE", key)
    strict.steps = 3

    async def copy(expect: Expect, manner: Manner = kept) -> None:
        await Adapter().copy(
            call, "bucket", "k", "source", found, given, expect=expect, manner=manner
        )

    await copy(NOTHING, manner)
    told = strict.told("k")
    assert strict.holds() == {"k": b"hello"}
    assert (told["contentType"], told["storageClass"]) == ("text/plain", "NEARLINE")
    assert told["metadata"] == {SHA256: "ab" * 32}
    steps = [asked for asked in strict.asked if "rewriteTo" in asked]
    assert ["rewriteToken" in asked for asked in steps] == [False, True, True]
    assert all("destinationKmsKeyName=projects/p" in asked for asked in steps)

    with pytest.raises(Changed):
        await copy(NOTHING)
    strict.put("k", b"other", "source")
    with pytest.raises(Unavailable) as raised:
        await copy(Expect(version=told["generation"]))
    assert raised.value.code == "source_changed"
    assert strict.holds() == {"k": b"hello"}


# --- how it is kept


async def test_a_storage_class_and_a_key_are_told(strict: Strict, call: HttpCall) -> None:
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    await Adapter().put(
        call, "bucket", "k", b"x", {}, expect=NOTHING, manner=Manner("COLDLINE", key)
    )

    assert strict.told("k")["storageClass"] == "COLDLINE"
    assert "kmsKeyName=projects/p/locations" in strict.asked[0]
    with pytest.raises(Refused, match="encryption"):
        await Adapter().put(
            call, "bucket", "k", b"x", {}, expect=NOTHING, manner=Manner(encryption="aws:kms")
        )


# --- what goes wrong


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("operation", ["list", "put", "begin"])
async def test_an_unknown_bucket_is_refused(call: HttpCall, operation: str) -> None:
    with pytest.raises(Refused) as raised:
        await do(operation, call, "no-such-bucket")
    assert raised.value.code == "bucket_not_found"


FAULTS: list[tuple[bytes | str, type[VendorError], str]] = [
    (said(500, "backendError"), Unavailable, "vendor_unavailable"),
    (said(503, "backendError"), Unavailable, "vendor_unavailable"),
    (answer(502, b"<html>"), Unavailable, "vendor_unavailable"),
    (said(408, "requestTimeout"), Unavailable, "vendor_unavailable"),
    (said(429, "rateLimitExceeded"), Throttled, "rate_limited"),
    (said(403, "userRateLimitExceeded"), Throttled, "rate_limited"),
    (said(403, "forbidden"), Refused, "access_denied"),
    (answer(403, b"Permission denied on Cloud KMS key."), Refused, "refused"),
    (answer(403, b"[]"), Misconfigured, "misconfigured"),
    (answer(401, b""), Misconfigured, "misconfigured"),
    (said(400, "invalid"), Refused, "refused"),
    (answer(302, b"", Location="http://127.0.0.1:1/"), Refused, "refused"),
    (answer(400, b"Provided CRC32C doesn't match calculated"), Unavailable, "checksum_mismatch"),
    (SILENT, Unavailable, "vendor_unavailable"),
    (CUT, Unavailable, "vendor_unavailable"),
]
CONDITIONS: list[tuple[bytes | str, str, type[VendorError], str]] = [
    (said(status, "conditionNotMet"), operation, error, code)
    for operations, error, code in [
        (READS, Unavailable, "source_changed"),
        (WRITES, Changed, "target_changed"),
    ]
    for operation in operations
    for status in (409, 412)
]
NO_ANSWERS: list[tuple[bytes | str, str, type[VendorError], str]] = [
    (step, operation, Unavailable, "vendor_unavailable")
    for step in (OK, answer(200, b"no"))
    for operation in (*READS[:2], *WRITES)
]


@pytest.mark.parametrize(
    ("step", "operation", "error", "code"),
    [
        (step, operation, error, code)
        for step, error, code in FAULTS
        for operation in (*READS, *WRITES)
    ]
    + CONDITIONS
    + NO_ANSWERS,
)
async def test_each_fault_becomes_the_error_that_names_what_follows(
    monkeypatch: pytest.MonkeyPatch,
    journal: Notes,
    step: bytes | str,
    operation: str,
    error: type[VendorError],
    code: str,
) -> None:
    # On a busy machine an answer takes its time.
    seconds = 0.5 if step == SILENT else 10.0
    numbers = policy("gcs").model_copy(update={"timeout_seconds": seconds})
    client = Client(numbers)
    async with faulty(step) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(VendorError) as raised:
            await do(operation, HttpCall("gcs", client, numbers, journal))
    await client.close()

    assert (type(raised.value), raised.value.code) == (error, code)
    # Nothing but the job retries.
    assert len(vendor.executed) == 1
    assert len(journal.interactions) == 1


@pytest.mark.parametrize("operation", [*READS, *WRITES])
async def test_a_refused_connection_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, operation: str
) -> None:
    monkeypatch.setenv("GCS_BASE_URL", "http://127.0.0.1:1")
    with pytest.raises(NotSent):
        await do(operation, call)


def resource(data: bytes, **more: str) -> bytes:
    crc32c = base64.b64encode(b"0000").decode()
    told = {"kind": "storage#object", "name": "k", "size": str(len(data)), "crc32c": crc32c, **more}
    return answer(200, json.dumps({**told, "generation": "7"}).encode())


async def test_content_that_was_stored_otherwise_than_sent_does_not_stay(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(resource(b"x"), answer(204, b"")) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Unavailable) as raised:
            await do("put", call)

    assert raised.value.code == "checksum_mismatch"
    removed = "DELETE /storage/v1/b/bucket/o/k?ifGenerationMatch=7"
    assert vendor.executed[1:] == [removed]


SUM = base64.b64encode(b"0000").decode()


@pytest.mark.parametrize(
    ("came", "listed", "span"),
    [
        (answer(200, b"shor"), {}, None),
        (answer(200, b"other"), {"crc32c": "00" * 4}, None),
        (answer(200, b"other", X_Goog_Hash=f"crc32c={SUM},md5=AAAA"), {}, None),
        (answer(200, b"longer"), {}, (0, 3)),
    ],
)
async def test_content_that_comes_otherwise_than_stored_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
    call: HttpCall,
    came: bytes,
    listed: dict[str, str],
    span: tuple[int, int] | None,
) -> None:
    one = Stored("k", 5, AT, None, "7", listed)
    async with faulty(came) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Unavailable) as raised:
            await Adapter().get(call, "bucket", one, span)

    assert raised.value.code == "checksum_mismatch"
    assert vendor.executed == ["GET /storage/v1/b/bucket/o/k?alt=media&generation=7"]


async def test_no_content_stays_in_what_is_kept(
    server: str, bucket: str, call: HttpCall, journal: Notes
) -> None:
    given = {"Content-Type": "application/json", "owner": "planted"}
    await put(call, bucket, "a b", b'{"x": "planted"}', given)
    (found,) = await listed(call, bucket)
    assert await read(call, bucket, found) == b'{"x": "planted"}'

    kept = [f"{one['method']} {one['url']}" for one in journal.interactions]
    assert kept[0].startswith(f"POST {server}/upload/storage/v1/b/{bucket}/o?")
    assert {one["status_code"] for one in journal.interactions} == {200}
    assert "planted" not in repr(journal.interactions)
