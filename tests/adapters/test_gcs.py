"""Cloud Storage: what reaches a bucket, what comes back, and what each failure means."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google_crc32c import Checksum

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
from adapters.gcs import Adapter
from ferryman.policies import policy
from tests import gcs
from tests.adapters.doubles import Notes
from tests.contract.operations import Operation
from tests.faulty import CUT, OK, SILENT, answer, faulty

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
AT = datetime(2026, 11, 28, 15, 53, 24, tzinfo=UTC)


async def _put(call: HttpCall) -> object:
    return await Adapter().put(call, "bucket", "key", content(b"planted"))


# The job marks a sync once, not each of its objects.
OPERATIONS = [Operation("put", _put, Repeat.NATURAL, marks_itself=False, open=True)]
# Each test that wants credentials makes them.
ENVIRONMENT = {VARIABLE: None}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with gcs.running_gcs() as url:
        yield url


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket on a running server; the environment points at it."""
    monkeypatch.setenv("GCS_BASE_URL", server)
    return gcs.new_bucket(server)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials in the environment, in a home or on an instance."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def journal() -> Notes:
    return Notes()


@pytest.fixture
async def call(journal: Notes) -> AsyncIterator[HttpCall]:
    client = Client(policy("gcs"))
    yield HttpCall("gcs", client, policy("gcs"), journal)
    await client.close()


def content(data: bytes, **attributes: str) -> Content:
    return Content(len(data), data, attributes)


def stored(key: str, size: int = 5, version: str | None = None) -> Stored:
    return Stored(key, size, AT, None, version)


async def listed(call: HttpCall, bucket: str, prefix: str = "") -> list[Stored]:
    return [found async for found in Adapter().list(call, bucket, prefix)]


async def read(call: HttpCall, bucket: str, found: Stored) -> bytes:
    got = await Adapter().get(call, bucket, found)
    return got.data if isinstance(got.data, bytes) else b"".join([c async for c in got.data])


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


# --- what the vendor holds


async def test_an_object_arrives_with_what_belongs_to_it(
    server: str, bucket: str, call: HttpCall
) -> None:
    given = {"Content-Type": "text/plain", "Cache-Control": "no-cache", SHA256: "ab" * 32}
    etag = await Adapter().put(call, bucket, "a/ü & +=%20.txt", content(b"hello\r\n\0", **given))

    found = gcs.told(server, bucket, "a/ü & +=%20.txt")
    assert gcs.holds(server, bucket) == {"a/ü & +=%20.txt": b"hello\r\n\0"}
    assert (found["contentType"], found["cacheControl"]) == ("text/plain", "no-cache")
    assert found["metadata"] == {SHA256: "ab" * 32}
    assert etag == base64.b64decode(found["md5Hash"]).hex()
    assert await Adapter().attributes(call, bucket, "a/ü & +=%20.txt") == given


async def test_a_stream_arrives_in_parts(
    server: str, bucket: str, call: HttpCall, journal: Notes
) -> None:
    data = os.urandom(2 * PART_BYTES + 3)
    chunks = (data[:5], data[5 : PART_BYTES + 9], data[PART_BYTES + 9 :])
    given = {"Content-Type": "text/plain", SHA256: "ab" * 32}
    await Adapter().put(call, bucket, "large", Content(len(data), stream(*chunks), given))

    assert gcs.holds(server, bucket) == {"large": data}
    assert await Adapter().attributes(call, bucket, "large") == given
    parts = [one for one in journal.interactions if one["method"] == "PUT"]
    sizes = [one["request"]["bytes"] for one in parts]
    assert sizes == [PART_BYTES, PART_BYTES, 3]


@pytest.mark.parametrize("too", ["short", "long", "broken"])
async def test_a_stream_that_is_not_as_long_as_it_said_leaves_nothing(
    server: str, bucket: str, call: HttpCall, too: str
) -> None:
    async def wrong() -> AsyncIterator[bytes]:
        yield b"x" * PART_BYTES
        if too == "broken":
            raise Unavailable("a file changed while it was read", code="source_changed")
        yield b"x" * (PART_BYTES + 1 if too == "long" else PART_BYTES - 1)

    with pytest.raises(Unavailable) as raised:
        await Adapter().put(call, bucket, "large", Content(2 * PART_BYTES, wrong()))

    assert raised.value.code == "source_changed"
    assert gcs.holds(server, bucket) == {}


async def test_small_large_and_composed_objects_come_back(
    server: str, bucket: str, call: HttpCall
) -> None:
    large = bytes(range(256)) * (PART_BYTES // 256) + b"more"
    held = {"empty": b"", "small": b"hello", "large": large}
    for key, data in held.items():
        gcs.put(server, bucket, key, data, metadata={"k": key})
    gcs.compose(server, bucket, "whole", "small", "small")

    found = {one.key: one for one in await listed(call, bucket)}

    assert {key: await read(call, bucket, one) for key, one in found.items()} == {
        **held,
        "whole": b"hellohello",
    }
    assert (await Adapter().attributes(call, bucket, "large"))["k"] == "large"


async def test_what_is_stored_packed_stays_packed(
    server: str, bucket: str, call: HttpCall, journal: Notes
) -> None:
    packed = gzip.compress(b"hello" * 100)
    gcs.put(server, bucket, "k", packed, contentEncoding="gzip", contentType="text/plain")

    (found,) = await listed(call, bucket)
    got = await Adapter().get(call, bucket, found)

    assert got.data == packed
    assert got.attributes["Content-Encoding"] == "gzip"


async def test_an_object_that_changed_since_it_was_listed_is_not_read(
    server: str, bucket: str, call: HttpCall
) -> None:
    gcs.put(server, bucket, "k", b"first")
    (found,) = await listed(call, bucket)
    gcs.put(server, bucket, "k", b"other")

    with pytest.raises(Unavailable) as raised:
        await Adapter().get(call, bucket, found)
    assert raised.value.code == "source_changed"


async def test_another_emulator_understands_it_too(
    call: HttpCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, given = os.urandom(PART_BYTES + 3), {"Content-Type": "text/plain", SHA256: "ab" * 32}
    with gcs.running_other() as url:
        monkeypatch.setenv("GCS_BASE_URL", url)
        bucket = gcs.new_bucket(url)
        for key in ("z", "a/b", "a.txt", "p/ü +%20"):
            await Adapter().put(call, bucket, key, content(key.encode(), **given))
        parts = stream(large[:PART_BYTES], large[PART_BYTES:])
        await Adapter().put(call, bucket, "large", Content(len(large), parts, given))
        await Adapter().delete(call, bucket, "z")

        found = await listed(call, bucket)
        assert [one.key for one in found] == ["a.txt", "a/b", "large", "p/ü +%20"]
        for one in found:
            data = large if one.key == "large" else one.key.encode()
            assert await read(call, bucket, one) == data
            assert await Adapter().attributes(call, bucket, one.key) == given
        with pytest.raises(Refused, match="no bucket"):
            await listed(call, "no-such-bucket")


async def test_deleting_what_is_gone_is_no_error(server: str, bucket: str, call: HttpCall) -> None:
    gcs.put(server, bucket, "a/b", b"x")
    for _ in range(2):
        await Adapter().delete(call, bucket, "a/b")

    assert gcs.holds(server, bucket) == {}


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
    told = gcs.told(server, bucket, keys[0])
    assert (found[0].etag, found[0].version) == (
        base64.b64decode(told["md5Hash"]).hex(),
        told["generation"],
    )
    assert abs((datetime.now(UTC) - (found[0].last_modified or AT)).total_seconds()) < 60


HOSTILE = ["/abs", "p/../out", "p/./dot", "p//empty", "p/back\\slash", "p/tab\there", "p/ü +%20"]


async def test_hostile_keys_are_listed_beside_the_others_and_name_themselves_alone(
    server: str, bucket: str, call: HttpCall
) -> None:
    for key in [*HOSTILE, "p/good"]:
        await Adapter().put(call, bucket, key, content(key.encode()))

    found = await listed(call, bucket)
    assert {one.key for one in found} == {*HOSTILE, "p/good"}
    assert {await read(call, bucket, one) for one in found} == {one.key.encode() for one in found}
    for one in found:
        await Adapter().delete(call, bucket, one.key)
    assert gcs.holds(server, bucket) == {}


@pytest.mark.parametrize("key", ["", ".", ".."])
async def test_a_key_that_cannot_be_asked_for_is_refused(
    bucket: str, call: HttpCall, key: str, journal: Notes
) -> None:
    with pytest.raises(Refused) as raised:
        await Adapter().delete(call, bucket, key)
    assert raised.value.code == "invalid_key"
    assert journal.interactions == []


# --- what goes wrong


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("operation", "code"),
    [("list", "bucket_not_found"), ("put", "bucket_not_found"), ("get", "not_found")],
)
async def test_an_unknown_bucket_is_refused(call: HttpCall, operation: str, code: str) -> None:
    with pytest.raises(Refused) as raised:
        await do(operation, call, "no-such-bucket")
    assert raised.value.code == code


async def do(operation: str, call: HttpCall, bucket: str = "bucket") -> None:
    match operation:
        case "list":
            await listed(call, bucket)
        case "put":
            await Adapter().put(call, bucket, "k", content(b"x"))
        case "get":
            await Adapter().get(call, bucket, stored("k"))


def said(status: int, reason: str) -> bytes:
    told = {"error": {"code": status, "message": "no", "errors": [{"reason": reason}]}}
    return answer(status, json.dumps(told).encode())


FAULTS: list[tuple[bytes | str, type[VendorError], str]] = [
    (said(500, "backendError"), Unavailable, "vendor_unavailable"),
    (said(503, "backendError"), Unavailable, "vendor_unavailable"),
    (answer(502, b"<html>"), Unavailable, "vendor_unavailable"),
    (said(408, "requestTimeout"), Unavailable, "vendor_unavailable"),
    (said(429, "rateLimitExceeded"), Throttled, "rate_limited"),
    (said(403, "userRateLimitExceeded"), Throttled, "rate_limited"),
    (said(403, "forbidden"), Misconfigured, "misconfigured"),
    (answer(403, b"[]"), Misconfigured, "misconfigured"),
    (answer(401, b""), Misconfigured, "misconfigured"),
    (said(412, "conditionNotMet"), Unavailable, "source_changed"),
    (said(409, "conflict"), Unavailable, "source_changed"),
    (said(400, "invalid"), Refused, "refused"),
    (answer(302, b"", Location="http://127.0.0.1:1/"), Refused, "refused"),
    (OK, Unavailable, "vendor_unavailable"),
    (answer(200, b"no"), Unavailable, "vendor_unavailable"),
    (SILENT, Unavailable, "vendor_unavailable"),
    (CUT, Unavailable, "vendor_unavailable"),
]


@pytest.mark.parametrize(("step", "error", "code"), FAULTS)
@pytest.mark.parametrize("operation", ["list", "put", "get"])
async def test_each_fault_becomes_the_error_that_names_what_follows(
    monkeypatch: pytest.MonkeyPatch,
    journal: Notes,
    step: bytes | str,
    error: type[VendorError],
    code: str,
    operation: str,
) -> None:
    numbers = policy("gcs").model_copy(update={"timeout_seconds": 0.5})
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


@pytest.mark.parametrize("operation", ["list", "put", "get"])
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


@pytest.mark.parametrize("came", [b"other", b"shor"])
async def test_content_that_comes_otherwise_than_stored_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, came: bytes
) -> None:
    async with faulty(resource(b"hello"), answer(200, came)) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Unavailable) as raised:
            await do("get", call)

    assert raised.value.code == "checksum_mismatch"
    assert vendor.executed[1].endswith("/k?alt=media&generation=7")


async def test_the_last_part_brings_the_sum_of_all(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall
) -> None:
    data = os.urandom(PART_BYTES + 4)
    session = answer(200, b"", Location="/upload?upload_id=x")
    goes_on = answer(308, b"", Range=f"bytes=0-{PART_BYTES - 1}")
    async with faulty(session, goes_on, said(400, "invalid")) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Refused):
            await Adapter().put(call, "bucket", "k", Content(len(data), stream(data)))

    sums = [head.get("x-goog-hash") for head in vendor.heads]
    given = base64.b64encode(Checksum(data).digest()).decode()
    assert sums == [None, None, f"crc32c={given}"]


async def test_a_session_leads_nowhere_but_to_the_vendor(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, journal: Notes
) -> None:
    session = answer(200, b"", Location="http://127.0.0.1:1/elsewhere?upload_id=planted")
    kept = answer(308, b"", Range="bytes=0-3")
    two = Content(PART_BYTES + 4, stream(b"x" * PART_BYTES, b"more"))
    async with faulty(session, kept) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Unavailable, match="kept a part"):
            await Adapter().put(call, "bucket", "k", two)

    assert vendor.executed[1] == "PUT /elsewhere?upload_id=planted"
    assert vendor.heads[1]["content-range"] == f"bytes 0-{PART_BYTES - 1}/{PART_BYTES + 4}"
    # Whoever knows a session's name may write to it.
    assert "planted" not in repr(journal.interactions)


# --- who asks


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rsa.RSAPrivateKey:
    """A service account of this test alone."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    account = {
        "type": "service_account",
        "client_email": "tests@example.com",
        "private_key_id": "of-the-tests",
        "private_key": text,
        "token_uri": "http://127.0.0.1:1/token",
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "key.json"))
    return made


def claims(token: str, key: rsa.RSAPrivateKey) -> dict[str, object]:
    """What a token says, its signature verified."""
    signed, _, signature = token.rpartition(".")
    raw = [base64.urlsafe_b64decode(part + "==") for part in (signature, signed.split(".")[1])]
    key.public_key().verify(raw[0], signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    told: dict[str, object] = json.loads(raw[1])
    return told


@pytest.mark.parametrize("operation", ["list", "put", "get"])
async def test_a_service_account_signs_its_own_tokens(
    monkeypatch: pytest.MonkeyPatch,
    call: HttpCall,
    journal: Notes,
    key_file: rsa.RSAPrivateKey,
    operation: str,
) -> None:
    async with faulty(said(403, "forbidden")) as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        with pytest.raises(Misconfigured, match=VARIABLE):
            await do(operation, call)

    scheme, _, token = vendor.heads[0]["authorization"].partition(" ")
    told = claims(token, key_file)
    assert (scheme, told["iss"]) == ("Bearer", "tests@example.com")
    assert told["scope"] == "https://www.googleapis.com/auth/devstorage.read_write"
    assert token not in repr(journal.interactions)


async def test_one_token_serves_many_and_other_credentials_are_taken_at_once(
    key_file: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    adapter = Adapter()
    together = await asyncio.gather(*(adapter._proof() for _ in range(8)))
    assert len({proof["Authorization"] for proof in together}) == 1

    # The same file, written anew.
    os.utime(tmp_path / "key.json", ns=(1, 1))
    (tmp_path / "key.json").write_text((tmp_path / "key.json").read_text().replace("tests@", "x@"))
    token = (await adapter._proof())["Authorization"].partition(" ")[2]
    assert claims(token, key_file)["iss"] == "x@example.com"


@pytest.mark.usefixtures("key_file")
async def test_a_token_that_ends_soon_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = Adapter()
    await adapter._proof()
    found = await adapter._identity.found(adapter.fingerprint())
    found.source.expiry = datetime.now()  # type: ignore[attr-defined]
    assert found.aged()

    await adapter._proof()
    assert not found.aged()


@pytest.mark.parametrize("operation", ["list", "put", "get"])
@pytest.mark.parametrize("url", ["", "https://127.0.0.1:1"])
async def test_missing_credentials_are_named(
    monkeypatch: pytest.MonkeyPatch, call: HttpCall, journal: Notes, operation: str, url: str
) -> None:
    monkeypatch.setenv("GCS_BASE_URL", url)
    with pytest.raises(Misconfigured, match=f"{VARIABLE} is not set"):
        await do(operation, call)

    assert journal.interactions == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "names no file of credentials"),
        ("no JSON", "cannot be read|names no file"),
        ("{}", "names no file of credentials"),
        ('{"type": "service_account"}', "cannot be read|names no file"),
    ],
)
async def test_a_file_that_holds_no_credentials_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, told: str
) -> None:
    path = tmp_path / "key.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv(VARIABLE, str(path))

    with pytest.raises(Misconfigured, match=f"{VARIABLE} ({told})") as raised:
        await Adapter()._proof()
    assert str(path) not in raised.value.message


def pod(tmp_path: Path, url: str) -> str:
    """The file of a pod of another cloud, whose own token is traded at that address."""
    (tmp_path / "token").write_text("of-the-cluster")
    told = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/a/providers/b",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": url,
        "credential_source": {"file": str(tmp_path / "token")},
    }
    (tmp_path / "pod.json").write_text(json.dumps(told))
    return str(tmp_path / "pod.json")


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer(200, b'{"access_token": "t", "expires_in": 3600}'), None),
        (answer(400, b'{"error": "invalid_grant"}'), Misconfigured),
        (CUT, Unavailable),
    ],
)
async def test_other_credentials_are_traded_for_a_token(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step: bytes | str,
    error: type[VendorError] | None,
) -> None:
    async with faulty(step) as issuer:
        monkeypatch.setenv(VARIABLE, pod(tmp_path, f"{issuer.url}/token"))
        if error is None:
            assert await Adapter()._proof() == {"Authorization": "Bearer t"}
        else:
            with pytest.raises(error):
                await Adapter()._proof()

    assert issuer.executed == ["POST /token"]


INSTANCE = """
from adapters._google import find
print(find().text)
"""


async def test_without_a_file_the_instance_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    account = answer(200, b'{"email": "x@example.com", "scopes": []}', Metadata_Flavor="Google")
    token = answer(200, b'{"access_token": "of-the-instance", "expires_in": 3600}')
    hello, project = answer(200, b"", Metadata_Flavor="Google"), answer(200, b"project")
    monkeypatch.delenv("NO_GCE_CHECK")
    async with faulty(hello, project, account, token) as instance:
        # google-auth reads these when it is loaded.
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, instance.url.removeprefix("http://"))
        pipe = asyncio.subprocess.PIPE
        asked = await asyncio.create_subprocess_exec(sys.executable, "-c", INSTANCE, stdout=pipe)
        told, _ = await asked.communicate()

    assert told == b"of-the-instance\n", instance.executed


def test_nothing_of_googles_own_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, adapters.gcs; adapters.gcs.Adapter(); sys.exit('google.auth' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_no_content_stays_in_what_is_kept(
    server: str, bucket: str, call: HttpCall, journal: Notes
) -> None:
    given = {"Content-Type": "application/json", "owner": "planted"}
    await Adapter().put(call, bucket, "a b", content(b'{"x": "planted"}', **given))
    (found,) = await listed(call, bucket)
    assert await read(call, bucket, found) == b'{"x": "planted"}'

    kept = [f"{one['method']} {one['url']}" for one in journal.interactions]
    assert kept[0].startswith(f"POST {server}/upload/storage/v1/b/{bucket}/o?")
    assert {one["status_code"] for one in journal.interactions} == {200}
    assert "planted" not in repr(journal.interactions)
