"""Whose keys S3 is asked with: the environment's, or those of a role."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters._base import Misconfigured
from adapters.s3 import Adapter
from tests.adapters.s3_double import xml
from tests.faulty import OK, SILENT, answer, faulty


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
