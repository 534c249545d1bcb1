"""Large objects on their way to Cloud Storage: sessions that go on after an interruption."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import AsyncIterator, Mapping

import pytest
from google_crc32c import Checksum

from adapters._base import Refused, Unavailable, VendorError
from adapters._gcs_upload import Session
from adapters._http import Client, HttpCall
from adapters._storage import (
    AS_THE_BUCKET,
    PART_BYTES,
    SHA256,
    Changed,
    Expect,
    Manner,
    Placed,
    Received,
    Upload,
)
from adapters.gcs import Adapter
from ferryman.policies import policy
from tests import gcs
from tests.adapters.doubles import Notes
from tests.adapters.gcs_parts import NOTHING, VARIABLE, listed, read
from tests.faulty import answer, faulty
from tests.strict_gcs import STEP, Strict, strict_gcs

PART = 2 * STEP
DATA = os.urandom(3 * PART + 5)
GIVEN = {"Content-Type": "text/plain", SHA256: "ab" * 32}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters._gcs_upload.PART_BYTES", PART)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
async def strict(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Strict]:
    async with strict_gcs() as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        yield vendor


@pytest.fixture
def journal() -> Notes:
    return Notes()


@pytest.fixture
async def call(journal: Notes) -> AsyncIterator[HttpCall]:
    client = Client(policy("gcs"))
    yield HttpCall("gcs", client, policy("gcs"), journal)
    await client.close()


async def begin(
    call: HttpCall,
    bucket: str = "bucket",
    *,
    expect: Expect = NOTHING,
    manner: Manner = AS_THE_BUCKET,
    digests: Mapping[str, str] | None = None,
) -> Upload:
    return await Adapter().begin(
        call, bucket, "k", len(DATA), GIVEN, expect=expect, manner=manner, digests=digests
    )


async def send(
    call: HttpCall, upload: Upload, numbers: range, bucket: str = "bucket", data: bytes = DATA
) -> str | Placed:
    """The parts of those numbers; returns what the last of them was answered."""
    told: str | Placed = ""
    for number in numbers:
        offset = (number - 1) * PART
        piece = data[offset : offset + PART]
        told = await Adapter().part(call, bucket, upload, number, offset, len(data), piece)
    return told


ALL = range(1, 5)


async def received(call: HttpCall, upload: Upload) -> Received | Placed | None:
    return await Adapter().received(call, "bucket", upload, len(DATA))


def as_recorded(upload: Upload) -> Upload:
    """What another process makes of a row: it knows no sum."""
    return Upload(upload.key, upload.id, upload.part_bytes)


async def test_a_large_object_arrives_in_parts(
    gcs_server: str, call: HttpCall, journal: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCS_BASE_URL", gcs_server)
    bucket = gcs.new_bucket(gcs_server)
    placed = await send(call, await begin(call, bucket), ALL, bucket)

    (found,) = await listed(call, bucket)
    assert await read(call, bucket, found) == DATA
    assert found.attributes == GIVEN
    assert isinstance(placed, Placed)
    assert (placed.version, placed.digests) == (found.version, found.digests)
    sizes = [one["request"]["bytes"] for one in journal.interactions if one["method"] == "PUT"]
    assert sizes == [PART, PART, PART, 5]


async def test_a_session_goes_on_where_it_was(strict: Strict, call: HttpCall) -> None:
    begun = await begin(call)
    assert await received(call, begun) == Received(offset=0)
    await send(call, begun, range(1, 3))

    again = as_recorded(begun)
    assert await received(call, again) == Received(offset=2 * PART)
    placed = await send(call, again, range(3, 5))

    assert strict.holds() == {"k": DATA}
    assert isinstance(placed, Placed)
    assert placed.digests["crc32c"] == Checksum(DATA).digest().hex()
    assert await received(call, again) == placed
    assert await Adapter().finish(call, "bucket", again, {}, expect=NOTHING) == placed
    # No part was sent twice, and no session begun anew.
    assert [asked.partition(" ")[0] for asked in strict.asked].count("PUT") == 2 + 4 + 2
    assert len(strict.sessions) == 1


async def test_half_an_object_is_neither_taken_for_the_whole_nor_left(
    gcs_server: str, call: HttpCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCS_BASE_URL", gcs_server)
    bucket = gcs.new_bucket(gcs_server)
    begun = await begin(call, bucket)
    await send(call, begun, range(1, 2), bucket)

    # This server makes an object of what it has, when it is asked what that is.
    assert await Adapter().received(call, bucket, begun, len(DATA)) is None
    assert gcs.holds(gcs_server, bucket) == {}


async def test_an_answer_that_was_lost_is_asked_for(strict: Strict, call: HttpCall) -> None:
    begun = await begin(call)
    strict.lost = 1
    with pytest.raises(Unavailable):
        await send(call, begun, range(1, 2))
    assert await received(call, begun) == Received(offset=PART)

    await send(call, begun, range(2, 4))
    strict.lost = 1
    with pytest.raises(Unavailable):
        await send(call, begun, range(4, 5))

    placed = await received(call, begun)
    assert isinstance(placed, Placed)
    assert placed.version == strict.told("k")["generation"]


async def test_a_part_that_is_sent_again_counts_once(strict: Strict, call: HttpCall) -> None:
    begun = await begin(call)
    for numbers in (range(1, 2), range(1, 3), range(2, 5)):
        placed = await send(call, begun, numbers)

    assert isinstance(placed, Placed)
    assert strict.holds() == {"k": DATA}
    assert isinstance(begun, Session)
    assert begun.digest.size == len(DATA)


async def test_what_a_session_did_not_keep_is_sent_again(
    strict: Strict, call: HttpCall, journal: Notes
) -> None:
    begun = await begin(call)
    strict.keeps = STEP
    await send(call, begun, range(1, 2))
    sizes = [one["request"]["bytes"] for one in journal.interactions if one["method"] == "PUT"]
    assert sizes == [PART, PART - STEP]

    # A part that is only half there counts as none.
    (session,) = strict.sessions.values()
    del session.data[STEP:]
    assert await received(call, begun) == Received(offset=0)
    await send(call, begun, ALL)
    assert strict.holds() == {"k": DATA}


async def test_a_session_that_keeps_nothing_is_not_asked_for_ever(
    strict: Strict, call: HttpCall
) -> None:
    begun = await begin(call)
    strict.keeps = 0
    with pytest.raises(Unavailable, match="kept nothing"):
        await send(call, begun, range(1, 2))


async def test_content_that_is_not_the_announced_one_is_never_an_object(
    strict: Strict, call: HttpCall
) -> None:
    begun = await begin(call)
    await send(call, begun, range(1, 4))
    (session,) = strict.sessions.values()
    session.data[7] ^= 1

    with pytest.raises(Unavailable) as raised:
        await send(call, begun, range(4, 5))
    assert raised.value.code == "checksum_mismatch"
    assert strict.holds() == {}


@pytest.mark.parametrize("name", ["crc32c", "md5"])
async def test_what_is_known_of_the_content_is_told_before(
    strict: Strict, call: HttpCall, name: str
) -> None:
    sums = {"md5": hashlib.md5(DATA).hexdigest(), "crc32c": Checksum(DATA).digest().hex()}
    known = {name: sums[name], "sha256": "ab" * 32}
    for data in (DATA, DATA[:-1] + bytes([DATA[-1] ^ 1])):
        begun = as_recorded(await begin(call, digests=known))
        if data == DATA:
            assert isinstance(await send(call, begun, ALL), Placed)
            strict.objects.clear()
        else:
            with pytest.raises(Unavailable) as raised:
                await send(call, begun, ALL, data=data)
            assert raised.value.code == "checksum_mismatch"
    assert strict.holds() == {}


async def test_what_was_written_meanwhile_stays(strict: Strict, call: HttpCall) -> None:
    begun = await begin(call)
    strict.put("k", b"of another")

    with pytest.raises(Changed):
        await send(call, begun, ALL)
    assert strict.holds() == {"k": b"of another"}

    seen = Expect(version=strict.told("k")["generation"])
    assert isinstance(await send(call, await begin(call, expect=seen), ALL), Placed)
    assert strict.holds() == {"k": DATA}


@pytest.mark.parametrize("status", [404, 410, 499])
async def test_a_session_that_is_gone_is_told(strict: Strict, call: HttpCall, status: int) -> None:
    begun = await begin(call)
    await send(call, begun, range(1, 2))
    strict.expire(status)

    assert await received(call, begun) is None
    with pytest.raises(Refused) as raised:
        await send(call, begun, range(2, 3))
    assert raised.value.code == "upload_gone"
    with pytest.raises(Refused) as raised:
        await Adapter().finish(call, "bucket", begun, {}, expect=NOTHING)
    assert raised.value.code == "upload_gone"
    await Adapter().abort(call, "bucket", begun)


async def test_an_aborted_session_takes_nothing_more(strict: Strict, call: HttpCall) -> None:
    begun = await begin(call)
    await send(call, begun, range(1, 2))

    for _ in range(2):
        await Adapter().abort(call, "bucket", begun)

    assert await received(call, begun) is None
    assert await Adapter().uploads(call, "bucket", "k") == ()
    assert strict.holds() == {}


async def test_how_it_is_kept_is_told_at_its_beginning(strict: Strict, call: HttpCall) -> None:
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    await send(call, await begin(call, manner=Manner("COLDLINE", key)), ALL)

    told = strict.told("k")
    assert (told["storageClass"], told["contentType"]) == ("COLDLINE", "text/plain")
    assert told["metadata"] == {SHA256: "ab" * 32}
    assert f"kmsKeyName={key}" in strict.asked[0]


async def test_the_last_part_brings_the_sum_of_all(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    session = answer(200, b"", Location="/upload?upload_id=x")
    goes_on = [answer(308, b"", Range=f"bytes=0-{PART * number - 1}") for number in (1, 2, 3)]
    async with faulty(session, *goes_on, answer(400)) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Refused):
            await send(call, await begin(call), ALL)

    sums = [head.get("x-goog-hash") for head in vendor.heads]
    given = base64.b64encode(Checksum(DATA).digest()).decode()
    assert sums == [None, None, None, None, f"crc32c={given}"]


async def test_a_session_leads_nowhere_but_to_the_vendor_and_is_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, journal: Notes
) -> None:
    session = answer(200, b"", Location="http://127.0.0.1:1/elsewhere?upload_id=planted")
    async with faulty(session, answer(410), answer(410), answer(499)) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        begun = await begin(call)
        with pytest.raises(VendorError) as raised:
            await send(call, begun, range(1, 2))
        assert await received(call, begun) is None
        await Adapter().abort(call, "bucket", begun)

    named = "/elsewhere?upload_id=planted"
    assert vendor.executed[1:] == [f"PUT {named}", f"PUT {named}", f"DELETE {named}"]
    assert vendor.heads[1]["content-range"] == f"bytes 0-{PART - 1}/{len(DATA)}"
    assert vendor.heads[2]["content-range"] == f"bytes */{len(DATA)}"
    assert vendor.heads[2]["content-length"] == "0"
    # Whoever knows a session's name may write to it.
    assert "planted" not in repr(journal.interactions)
    assert "planted" not in f"{raised.value!r} {raised.value.as_error()}"


@pytest.mark.parametrize("located", ["", "/upload"])
async def test_an_answer_that_names_no_session_is_none(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, located: str
) -> None:
    async with faulty(answer(200, b"", Location=located)) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Unavailable, match="no session"):
            await begin(call)


def test_a_part_is_one_that_a_session_takes() -> None:
    assert PART_BYTES % STEP == 0
    assert Adapter.parts_at_once == 1
