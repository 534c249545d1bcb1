"""Who asks Cloud Storage: the credentials that google-auth finds, and what becomes of them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from adapters._base import Misconfigured, Unavailable, VendorError
from adapters._http import Client, HttpCall
from adapters.gcs import Adapter
from ferryman.policies import policy
from tests.adapters.doubles import Notes
from tests.adapters.gcs_parts import VARIABLE, do, said
from tests.faulty import CUT, answer, faulty


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
    async with faulty(said(401, "authError")) as vendor:
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
    found.source.expiry = datetime.now()
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
