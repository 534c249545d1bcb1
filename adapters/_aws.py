"""Who are we to AWS? Keys from the environment, else those of the role this machine has.

The role's keys come from the container's agent (ECS, EKS Pod Identity) or from the instance's
metadata service, as in AWS's own SDKs:
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from adapters._base import Misconfigured

ID, SECRET, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
CONTAINER_AGENT = "http://169.254.170.2"
INSTANCE = "http://169.254.169.254"
# Both answer on the machine itself; elsewhere nobody does, and a job should say so soon.
TIMEOUT = httpx.Timeout(5.0, connect=1.0)
# A role's keys are renewed while they still serve.
MARGIN = timedelta(minutes=5)


@dataclass(frozen=True)
class Keys:
    """An access key. `expires_at`: None for one that does not."""

    id: str
    secret: str
    token: str | None = None
    expires_at: datetime | None = None

    def serves(self) -> bool:
        return self.expires_at is None or datetime.now(UTC) + MARGIN < self.expires_at


class Identity:
    """The keys of this process, asked for again when they are about to expire."""

    def __init__(self) -> None:
        self._role: Keys | None = None

    async def keys(self) -> Keys:
        """The keys to sign with. Raises Misconfigured naming the variable that is missing."""
        if (given := _given()) is not None:
            return given
        if self._role is None or not self._role.serves():
            self._role = await _of_role()
        return self._role


def _given() -> Keys | None:
    found = {name: os.environ.get(name, "") for name in (ID, SECRET)}
    if not any(found.values()):
        return None
    for name, value in found.items():
        if not value:
            raise Misconfigured(f"{name} is not set", code="credentials_missing")
    return Keys(found[ID], found[SECRET], os.environ.get(TOKEN) or None)


async def _of_role() -> Keys:
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            answer = await _container(client) or await _instance(client)
            if answer is not None:
                return _read(answer)
    except (httpx.HTTPError, OSError, KeyError, ValueError) as error:
        raise Misconfigured(
            f"{ID} is not set, and this machine's role gives no keys", code="credentials_missing"
        ) from error
    raise Misconfigured(f"{ID} is not set", code="credentials_missing")


async def _container(client: httpx.AsyncClient) -> Any:
    url = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if relative := os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        url = f"{CONTAINER_AGENT}{relative}"
    if not url:
        return None
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        token = (await asyncio.to_thread(Path(file).read_text)).strip()
    return (await _ask(client, "GET", url, {"Authorization": token} if token else {})).json()


async def _instance(client: httpx.AsyncClient) -> Any:
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE
    life = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    token = await _ask(client, "PUT", f"{base.rstrip('/')}/latest/api/token", life)
    proof = {"X-aws-ec2-metadata-token": token.text}
    roles = f"{base.rstrip('/')}/latest/meta-data/iam/security-credentials/"
    role = (await _ask(client, "GET", roles, proof)).text.split()[0]
    return (await _ask(client, "GET", f"{roles}{role}", proof)).json()


async def _ask(
    client: httpx.AsyncClient, method: str, url: str, headers: dict[str, str]
) -> httpx.Response:
    answer = await client.request(method, url, headers=headers)
    return answer.raise_for_status()


def _read(answer: dict[str, Any]) -> Keys:
    return Keys(
        answer["AccessKeyId"],
        answer["SecretAccessKey"],
        answer.get("Token"),
        datetime.fromisoformat(answer["Expiration"]),
    )
