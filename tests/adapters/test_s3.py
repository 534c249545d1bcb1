"""S3: what reaches a bucket, what comes back, and what each failure means."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from adapters import _sigv4
from adapters._aws import Keys
from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Throttled,
    Unavailable,
    VendorError,
)
from adapters._http import Client, HttpCall
from adapters._storage import PART_BYTES, SHA256, Content, Stored
from adapters.s3 import Adapter
from ferryman.policies import policy
from tests import moto
from tests.adapters.doubles import Notes
from tests.faulty import CUT, OK, SILENT, answer, faulty

BUCKET = "ferryman-tests"
AT = datetime(2026, 11, 24, 21, 53, 10, tzinfo=UTC)
ETAG = '"5d41402abc4b2a76b9719d911017c592"'


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto.running_moto() as url:
        yield url


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket on a running server; the environment points at it."""
    settings(monkeypatch, server)
    moto.reset(server)
    moto.oracle(server).create_bucket(Bucket=BUCKET)
    return server


def settings(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("S3_BASE_URL", url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in moto.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def journal() -> Notes:
    return Notes()


@pytest.fixture
async def call(journal: Notes) -> AsyncIterator[HttpCall]:
    client = Client(policy("s3"))
    yield HttpCall("s3", client, policy("s3"), journal)
    await client.close()


def content(data: bytes, **attributes: str) -> Content:
    return Content(len(data), data, attributes)


def stored(key: str, size: int = 5, etag: str | None = None) -> Stored:
    return Stored(key, size, AT, etag)


async def listed(call: HttpCall, prefix: str = "") -> list[Stored]:
    return [found async for found in Adapter().list(call, BUCKET, prefix)]


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


# --- what the vendor holds


async def test_an_object_arrives_with_what_belongs_to_it(s3: str, call: HttpCall) -> None:
    given = {"Content-Type": "text/plain", "Cache-Control": "no-cache", SHA256: "ab" * 32}
    etag = await Adapter().put(call, BUCKET, "a/ü & +=%20.txt", content(b"hello", **given))

    found = moto.oracle(s3).get_object(Bucket=BUCKET, Key="a/ü & +=%20.txt")
    assert found["Body"].read() == b"hello"
    assert (found["ContentType"], found["CacheControl"]) == ("text/plain", "no-cache")
    assert found["Metadata"] == {SHA256: "ab" * 32}
    assert found["ETag"] == etag
    assert await Adapter().attributes(call, BUCKET, "a/ü & +=%20.txt") == given


async def test_a_stream_arrives_in_parts(s3: str, call: HttpCall) -> None:
    parts = [bytes([number]) * PART_BYTES for number in range(2)] + [b"end"]
    size = sum(map(len, parts))
    etag = await Adapter().put(call, BUCKET, "large", Content(size, stream(*parts)))

    assert moto.holds(s3, BUCKET) == {"large": b"".join(parts)}
    assert etag
    assert etag.endswith('-3"')


async def test_a_stream_that_breaks_off_leaves_nothing(s3: str, call: HttpCall) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * PART_BYTES
        raise Unavailable("a file changed while it was read", code="source_changed")

    with pytest.raises(Unavailable, match="changed"):
        await Adapter().put(call, BUCKET, "large", Content(2 * PART_BYTES, broken()))

    assert moto.holds(s3, BUCKET) == {}
    assert "Uploads" not in moto.oracle(s3).list_multipart_uploads(Bucket=BUCKET)


async def test_small_and_large_objects_come_back(s3: str, call: HttpCall) -> None:
    large = bytes(range(256)) * (PART_BYTES // 256) + b"more"
    for key, data in (("empty", b""), ("small", b"hello"), ("large", large)):
        moto.oracle(s3).put_object(Bucket=BUCKET, Key=key, Body=data, Metadata={"k": key})

    for found in await listed(call):
        got = await Adapter().get(call, BUCKET, found)
        data = got.data if isinstance(got.data, bytes) else b"".join([c async for c in got.data])
        assert data == {"empty": b"", "small": b"hello", "large": large}[found.key]
        assert got.attributes["k"] == found.key


async def test_an_object_that_changed_since_it_was_listed_is_not_read(
    s3: str, call: HttpCall
) -> None:
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=b"first")
    (found,) = await listed(call)
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=b"other")

    with pytest.raises(Unavailable) as raised:
        await Adapter().get(call, BUCKET, found)
    assert raised.value.code == "source_changed"


async def test_deleting_what_is_gone_is_no_error(s3: str, call: HttpCall) -> None:
    moto.oracle(s3).put_object(Bucket=BUCKET, Key="k", Body=b"x")
    for _ in range(2):
        await Adapter().delete(call, BUCKET, "k")

    assert moto.holds(s3, BUCKET) == {}


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
    assert found[0].etag == client.head_object(Bucket=BUCKET, Key=keys[0])["ETag"]
    assert abs((datetime.now(UTC) - (found[0].last_modified or AT)).total_seconds()) < 60


HOSTILE = ["/abs", "p/../out", "p/./dot", "p//empty", "p/back\\slash", "p/tab\there", "p/ü +%20"]


async def test_hostile_keys_are_listed_beside_the_others(s3: str, call: HttpCall) -> None:
    for key in [*HOSTILE, "p/good"]:
        moto.oracle(s3).put_object(Bucket=BUCKET, Key=key, Body=b"x")

    assert {one.key for one in await listed(call)} == {*HOSTILE, "p/good"}


async def test_a_key_that_cannot_be_asked_for_is_refused(s3: str, call: HttpCall) -> None:
    with pytest.raises(Refused) as raised:
        await Adapter().put(call, BUCKET, "p/../out", content(b"x"))
    assert raised.value.code == "invalid_key"
    assert moto.holds(s3, BUCKET) == {}


# --- what goes wrong


@pytest.mark.parametrize("operation", ["list", "put", "get"])
async def test_an_unknown_bucket_is_refused(s3: str, call: HttpCall, operation: str) -> None:
    with pytest.raises(Refused) as raised:
        await do(operation, call, "no-such-bucket")
    assert raised.value.code == "bucket_not_found"


async def do(operation: str, call: HttpCall, bucket: str = BUCKET) -> None:
    match operation:
        case "list":
            async for _ in Adapter().list(call, bucket, ""):
                pass
        case "put":
            await Adapter().put(call, bucket, "k", content(b"x"))
        case "get":
            await Adapter().get(call, bucket, stored("k"))


def xml(status: int, code: str) -> bytes:
    return answer(status, f"<Error><Code>{code}</Code></Error>".encode())


FAULTS: list[tuple[bytes | str, type[VendorError], str]] = [
    (xml(500, "InternalError"), Unavailable, "vendor_unavailable"),
    (xml(503, "SlowDown"), Unavailable, "vendor_unavailable"),
    (answer(502, b"<html>"), Unavailable, "vendor_unavailable"),
    (xml(400, "RequestTimeout"), Unavailable, "vendor_unavailable"),
    (xml(429, "TooManyRequests"), Throttled, "rate_limited"),
    (xml(403, "AccessDenied"), Misconfigured, "misconfigured"),
    (answer(401, b""), Misconfigured, "misconfigured"),
    (xml(400, "ExpiredToken"), Misconfigured, "misconfigured"),
    (xml(400, "EntityTooLarge"), Refused, "refused"),
    (xml(301, "PermanentRedirect"), Misconfigured, "misconfigured"),
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


@pytest.mark.parametrize("token", [None, "session/token+="])
def test_a_signature_is_the_one_that_botocore_makes(token: str | None) -> None:
    parameters = {"list-type": "2", "prefix": "ü a+b&c=d/~", "continuation-token": "x/y=="}
    url = f"http://127.0.0.1:9000/bucket?{_sigv4.query(parameters)}"
    keys = Keys("id", "secret", token)
    ours = _sigv4.headers("GET", url, keys=keys, region="eu-west-1", service="s3", at=AT)

    assert ours.get("x-amz-security-token") == token
    theirs = AWSRequest("GET", url)
    theirs.context["timestamp"] = ours["x-amz-date"]
    for name, value in ours.items():
        if name != "authorization":
            theirs.headers[name] = value
    signer = S3SigV4Auth(Credentials("id", "secret", token), "s3", "eu-west-1")
    to_sign = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    assert ours["authorization"].endswith(signer.signature(to_sign, theirs))


async def test_the_signed_query_leaves_as_one_that_means_the_same(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    async with faulty(xml(404, "NoSuchBucket")) as vendor:
        settings(monkeypatch, vendor.url)
        with pytest.raises(Refused):
            async for _ in Adapter().list(call, BUCKET, "ü a+b&c=d/~"):
                pass

    # The transport may leave a `/` as it is; a server signs what it reads out of the query.
    query = vendor.executed[0].partition("?")[2]
    assert "+" not in query
    assert dict(parse_qsl(query, strict_parsing=True))["prefix"] == "ü a+b&c=d/~"
    assert sorted(query.split("&")) == query.split("&")


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


ROLE = json.dumps(
    {
        "AccessKeyId": "of-the-role",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z",
    }
).encode()


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def test_without_keys_the_containers_role_is_asked(no_keys: pytest.MonkeyPatch) -> None:
    async with faulty(answer(200, ROLE)) as agent:
        no_keys.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url}/role")
        found = await Adapter()._credential()

    assert (found["access_key_id"], found["secret_access_key"]) == ("of-the-role", "s")
    assert agent.executed == ["GET /role"]


async def test_without_keys_the_instances_role_is_asked(no_keys: pytest.MonkeyPatch) -> None:
    script = answer(200, b"proof"), answer(200, b"our-role\n"), answer(200, ROLE)
    async with faulty(*script) as instance:
        no_keys.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url)
        adapter = Adapter()
        found = [await adapter._credential(), await adapter._credential()]

    assert [keys["token"] for keys in found] == ["t", "t"]
    path = "/latest/meta-data/iam/security-credentials/"
    assert instance.executed == ["PUT /latest/api/token", f"GET {path}", f"GET {path}our-role"]


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
    await Adapter().put(call, BUCKET, "a b", content(b"hello"))
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
from adapters._obstore import Bucket
from adapters._storage import Content

class Call:
    def saw(self, interaction): pass

async def main(url, bucket):
    config = {"endpoint": url, "access_key_id": "x", "secret_access_key": "y", "region": "x"}
    store = S3Store(bucket, config=config, client_options={"allow_http": True})
    one = Bucket(store, "s3", url, "X")
    await asyncio.gather(*(one.put(Call(), f"k{n}", Content(1, b"x")) for n in range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_process_that_ends_right_after_an_operation_ends_well(s3: str) -> None:
    # Unguarded, about one in five aborts.
    command = [sys.executable, "-c", EXITS_AT_ONCE, s3, BUCKET]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(10)]
    assert [(process.communicate()[1], process.returncode) for process in started] == [
        (b"", 0)
    ] * 10
