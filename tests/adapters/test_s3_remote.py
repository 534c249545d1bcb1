"""S3's copies and deletes, of which no content passes through us.

moto ignores their conditions, and so does many a server: `Strict` keeps them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters._base import Misconfigured, Refused, Unavailable, VendorError
from adapters._http import Client, HttpCall
from adapters._storage import Changed, Expect, Stored
from adapters.s3 import Adapter
from ferryman.policies import policy
from tests import moto
from tests.adapters.doubles import Notes, Vendor
from tests.adapters.s3_double import BUCKET, NOTHING, Strict, md5, settings, stored, xml
from tests.faulty import answer, faulty

KEY = "a/ü & +=%20*'(~).bin"


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
def strict(monkeypatch: pytest.MonkeyPatch) -> tuple[HttpCall, Strict]:
    settings(monkeypatch, "http://strict.test")
    server = Strict()
    client: Any = Vendor(server)
    return HttpCall("s3", client, policy("s3"), Notes()), server


async def copy(
    call: HttpCall, key: str, source: Stored, attributes: dict[str, str] | None = None, **etag: str
) -> Any:
    expect = Expect(**etag)
    return await Adapter().copy(call, BUCKET, key, BUCKET, source, attributes or {}, expect=expect)


# --- copies


async def test_a_copy_is_the_content_with_its_new_attributes(s3: Any, call: HttpCall) -> None:
    made = s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"hello", Metadata={"old": "x"})
    s3.create_bucket(Bucket="another")
    source = stored(KEY, etag=made["ETag"].strip('"'))
    given = {"Content-Type": "text/plain", "ferryman-source-etag": "e"}
    placed = await Adapter().copy(call, "another", "c/ü +", BUCKET, source, given, expect=NOTHING)

    found = s3.get_object(Bucket="another", Key="c/ü +")
    assert found["Body"].read() == b"hello"
    assert (found["ContentType"], found["Metadata"]) == (
        "text/plain",
        {"ferryman-source-etag": "e"},
    )
    assert placed
    assert placed.etag == md5(b"hello")


async def test_both_ends_of_a_copy_must_be_as_they_were(strict: tuple[HttpCall, Strict]) -> None:
    call, server = strict
    server.holds = {KEY: "one", "taken": "two"}
    source = stored(KEY, etag="one")

    placed = await copy(call, "new", source)
    assert (placed.etag, placed.version) == ("one", "v")
    with pytest.raises(Changed):
        await copy(call, "taken", source)
    with pytest.raises(Changed):
        await copy(call, "taken", source, etag="other")
    assert server.holds["taken"] == "two"
    await copy(call, "taken", source, etag="two")
    assert server.holds["taken"] == "one"


@pytest.mark.parametrize("now", [{KEY: "newer"}, {}])
async def test_a_source_that_changed_is_no_change_at_the_target(
    strict: tuple[HttpCall, Strict], now: dict[str, str]
) -> None:
    call, server = strict
    server.holds = now
    with pytest.raises(Unavailable) as raised:
        await copy(call, "new", stored(KEY, etag="one"))
    assert raised.value.code == "source_changed"
    assert "new" not in server.holds


async def test_what_cannot_be_copied_there_has_to_travel(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(xml(501, "NotImplemented")) as vendor:
        settings(monkeypatch, vendor.url)
        assert await copy(call, "k", stored("s", etag="e")) is None
        assert await copy(call, "k", stored("s", 2 * 1024**3, etag="e")) is None
        assert await copy(call, "k", stored("s")) is None
    assert len(vendor.executed) == 1


async def test_a_version_is_copied_by_its_name(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(answer(200, b"<CopyObjectResult/>")) as vendor:
        settings(monkeypatch, vendor.url)
        await copy(call, "k", Stored("s ü", 1, None, "e", "v+/"))
    assert vendor.heads[0]["x-amz-copy-source"] == f"/{BUCKET}/s%20%C3%BC?versionId=v%2B%2F"
    assert vendor.heads[0]["x-amz-metadata-directive"] == "REPLACE"


# Of a copy S3 tells an error also within a 200.
@pytest.mark.parametrize(
    ("status", "told", "expected"),
    [
        (200, "InternalError", Unavailable),
        (200, "SlowDown", Unavailable),
        (404, "NoSuchBucket", Refused),
        (403, "AccessDenied", Refused),
        (403, "InvalidAccessKeyId", Misconfigured),
        (400, "InvalidRequest", Refused),
        (403, "InvalidObjectState", Refused),
    ],
)
async def test_each_fault_of_a_copy(
    monkeypatch: pytest.MonkeyPatch,
    call: HttpCall,
    status: int,
    told: str,
    expected: type[VendorError],
) -> None:
    async with faulty(xml(status, told)) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(expected):
            await copy(call, "k", stored("s", etag="e"))
    assert len(vendor.executed) == 1


# --- deletes


async def test_many_are_deleted_at_once(s3: Any, call: HttpCall) -> None:
    for key in (KEY, "b<&>'\"", "c", "stays"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    doomed = [stored(key, etag=md5(b"x")) for key in (KEY, "b<&>'\"", "c", "gone already")]

    assert await Adapter().delete(call, BUCKET, doomed) == {}
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["stays"]


async def test_only_what_is_as_it_was_listed_is_deleted(strict: tuple[HttpCall, Strict]) -> None:
    call, server = strict
    server.holds = {KEY: "one", "changed": "newer"}
    doomed = [stored(KEY, etag="one"), stored("changed", etag="older"), stored("gone", etag="x")]
    failed = await Adapter().delete(call, BUCKET, doomed)

    assert server.holds == {"changed": "newer"}
    assert {key: type(error) for key, error in failed.items()} == {"changed": Changed}


async def test_a_thousand_go_in_one_request(strict: tuple[HttpCall, Strict]) -> None:
    call, server = strict
    server.holds = {f"k{number}": "e" for number in range(1001)}
    doomed = [stored(key, etag="e") for key in server.holds]

    assert await Adapter().delete(call, BUCKET, doomed) == {}
    assert server.holds == {}
    assert await Adapter().delete(call, BUCKET, []) == {}


@pytest.mark.usefixtures("no_conditions")
async def test_without_conditions_each_is_looked_at(s3: Any, call: HttpCall) -> None:
    for key in ("same", "changed"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    doomed = [
        stored("same", etag=md5(b"x")),
        stored("changed", etag="older"),
        stored("gone", etag="x"),
    ]
    failed = await Adapter().delete(call, BUCKET, doomed)

    assert {key: type(error) for key, error in failed.items()} == {"changed": Changed}
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["changed"]


@pytest.fixture
def no_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = policy("s3").model_copy(update={"conditional_writes": False})
    monkeypatch.setattr("adapters._s3_remote.policy", lambda _: numbers)


RESULT = b"""<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Deleted><Key>a</Key></Deleted>
<Error><Key>b</Key><Code>AccessDenied</Code></Error>
<Error><Key>c</Key><Code>InternalError</Code></Error>
<Error><Key>d</Key><Code>NoSuchKey</Code></Error>
<Error><Key>e</Key><Code>Odd</Code></Error>
<Error><Key>never asked for</Key><Code>Odd</Code></Error></DeleteResult>"""


async def test_each_key_has_its_own_result(monkeypatch: pytest.MonkeyPatch, call: HttpCall) -> None:
    async with faulty(answer(200, RESULT)) as vendor:
        settings(monkeypatch, vendor.url)
        failed = await Adapter().delete(call, BUCKET, [stored(key) for key in "abcdef"])

    # Of f nothing was said.
    assert {key: type(error) for key, error in failed.items()} == {
        "b": Refused,
        "c": Unavailable,
        "e": Refused,
        "f": Unavailable,
    }


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (xml(404, "NoSuchBucket"), Refused),
        (xml(200, "InternalError"), Unavailable),
        (answer(200, b""), Unavailable),
        (xml(400, "MalformedXML"), Refused),
    ],
)
async def test_a_request_that_failed_as_a_whole_is_no_result(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, step: bytes, expected: type[VendorError]
) -> None:
    async with faulty(step) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(expected):
            await Adapter().delete(call, BUCKET, [stored("k", etag="e")])
