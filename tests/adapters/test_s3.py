"""S3: what reaches a bucket, what comes back, and what each failure means."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

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
from adapters._storage import PART_BYTES, SHA256, Content, Stored
from adapters.s3 import Adapter
from ferryman.policies import policy
from tests import moto
from tests.adapters.doubles import Notes
from tests.contract.operations import Operation
from tests.faulty import CUT, OK, SILENT, answer, faulty

BUCKET = "ferryman-tests"
AT = datetime(2026, 11, 24, 21, 53, 10, tzinfo=UTC)
ETAG = '"5d41402abc4b2a76b9719d911017c592"'


async def _put(call: HttpCall) -> object:
    return await Adapter().put(call, "bucket", "key", content(b"planted"))


# The job marks a sync once, not each of its objects; obstore keeps the time.
OPERATIONS = [Operation("put", _put, Repeat.NATURAL, marks_itself=False, timed=False)]
ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_SESSION_TOKEN": None,
    "AWS_EC2_METADATA_DISABLED": "true",
}


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


@pytest.mark.parametrize("token", ["", "session/token+="])
async def test_a_listing_is_signed_as_the_server_reads_it(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, token: str
) -> None:
    async with faulty(xml(404, "NoSuchBucket")) as vendor:
        settings(monkeypatch, vendor.url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
        with pytest.raises(Refused):
            async for _ in Adapter().list(call, BUCKET, "ü a+b&c=d/~"):
                pass

    path, _, query = vendor.executed[0].removeprefix("GET ").partition("?")
    asked, head = dict(parse_qsl(query, strict_parsing=True)), vendor.heads[0]
    assert (path, asked["prefix"]) == (f"/{BUCKET}", "ü a+b&c=d/~")
    # A plus sign means a space to some servers, and itself to others.
    assert "+" not in query
    assert head.get("x-amz-security-token", "") == token
    assert signature(f"{vendor.url}{path}", asked, head) in head["authorization"]


def signature(url: str, asked: dict[str, str], head: Message) -> str:
    """What botocore makes of a request that came in."""
    proof = re.search(r"SignedHeaders=([^,]+)", head["authorization"])
    assert proof
    signed = {name: head[name] for name in proof[1].split(";")}
    assert {"host", "x-amz-date"} <= set(signed)
    request = AWSRequest("GET", url, headers=signed, params=asked)
    request.context["timestamp"] = head["x-amz-date"]
    keys = Credentials(*list(moto.ENVIRONMENT.values())[:2])
    signer = S3SigV4Auth(keys, "s3", "eu-west-1")
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    return f"Signature={signer.signature(to_sign, request)}"


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


async def test_changed_keys_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, found = Adapter(), []
    for name in ("one", "two"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"secret-{name}")
        keys = await adapter._credential()
        found.append((keys["access_key_id"], keys["secret_access_key"]))

    assert found == [("one", "secret-one"), ("two", "secret-two")]


def role(serves: timedelta = timedelta(hours=6)) -> bytes:
    until = (datetime.now(UTC) + serves).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"AccessKeyId": "of-the-role", "SecretAccessKey": "s", "Token": "t", "Expiration": until}
    return answer(200, json.dumps(keys).encode())


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


# Whoever is asked here answers on the test's own event loop: to block it would be to fail.
async def test_without_keys_the_containers_role_is_asked_once_for_all(
    no_keys: pytest.MonkeyPatch,
) -> None:
    async with faulty(role()) as agent:
        no_keys.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url}/role")
        adapter = Adapter()
        together = await asyncio.gather(*(adapter._credential() for _ in range(8)))
        found = await adapter._credential()

    assert (found["access_key_id"], found["secret_access_key"]) == ("of-the-role", "s")
    assert {keys["token"] for keys in together} == {"t"}
    assert agent.executed == ["GET /role"]


async def test_keys_that_end_soon_are_renewed(no_keys: pytest.MonkeyPatch) -> None:
    soon = role(timedelta(minutes=12))
    async with faulty(soon, soon, role()) as agent:
        no_keys.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url}/role")
        adapter = Adapter()
        await adapter._credential()
        # Too short-lived, they were asked for twice at once.
        assert len(agent.executed) == 2
        found = [await adapter._credential() for _ in range(2)]

    assert len(agent.executed) == 3
    # obstore asks again before this, and no key that is handed out serves for less.
    ends = found[-1]["expires_at"]
    assert ends
    assert timedelta(minutes=5) < ends - datetime.now(UTC) <= timedelta(minutes=10)


async def test_a_role_that_gave_no_keys_is_asked_again(no_keys: pytest.MonkeyPatch) -> None:
    async with faulty(OK, role()) as agent:
        no_keys.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url}/role")
        adapter = Adapter()
        with pytest.raises(Misconfigured, match="AWS_ACCESS_KEY_ID"):
            await adapter._credential()

        assert (await adapter._credential())["token"] == "t"


async def test_without_keys_the_instances_role_is_asked(no_keys: pytest.MonkeyPatch) -> None:
    async with faulty(answer(200, b"proof"), answer(200, b"our-role"), role()) as instance:
        no_keys.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url)
        adapter = Adapter()
        found = [await adapter._credential(), await adapter._credential()]

    assert [keys["token"] for keys in found] == ["t", "t"]
    path = "/latest/meta-data/iam/security-credentials/"
    assert instance.executed == ["PUT /latest/api/token", f"GET {path}", f"GET {path}our-role"]


async def test_a_silent_instance_is_not_waited_for(no_keys: pytest.MonkeyPatch) -> None:
    async with faulty(SILENT, SILENT) as instance:
        no_keys.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url)
        started = time.monotonic()
        with pytest.raises(Misconfigured, match="AWS_ACCESS_KEY_ID is not set"):
            await Adapter()._credential()

    assert time.monotonic() - started < 4


STS = b"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>of-the-pod</AccessKeyId>
<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


@pytest.fixture
def pod(no_keys: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A pod with a role of its own, as EKS sets it up."""
    (tmp_path / "token").write_text("of-the-cluster")
    no_keys.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    no_keys.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ours")
    no_keys.setenv("AWS_REGION", "eu-west-1")
    return no_keys


async def test_a_pods_token_is_traded_for_keys(pod: pytest.MonkeyPatch) -> None:
    async with faulty(answer(200, STS)) as sts:
        pod.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        assert (await Adapter()._credential())["access_key_id"] == "of-the-pod"

    assert sts.executed == ["POST /"]


async def test_a_refused_role_is_told_of_without_its_name(pod: pytest.MonkeyPatch) -> None:
    async with faulty(xml(403, "AccessDenied")) as sts:
        pod.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        with pytest.raises(Misconfigured, match=r"ClientError.*AWS_ACCESS_KEY_ID") as raised:
            await Adapter()._credential()

    assert "ours" not in raised.value.message


async def test_the_regions_own_trader_is_asked(pod: pytest.MonkeyPatch) -> None:
    async with faulty(answer(403), answer(403)) as proxy:
        pod.setenv("HTTPS_PROXY", proxy.url)
        pod.setenv("NO_PROXY", "")
        with pytest.raises(Misconfigured):
            await Adapter()._credential()

    assert proxy.executed[0] == "CONNECT sts.eu-west-1.amazonaws.com:443"


def test_nothing_of_awss_own_is_loaded_before_it_is_needed() -> None:
    code = "import sys, adapters.s3; adapters.s3.Adapter(); sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
    async def pace(self): pass
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
