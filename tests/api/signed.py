"""What the tests of webhooks share: events that are signed, and sent to the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from adapters._base import Delivery
from ferryman.settings import settings
from tests.contract.operations import Secret, Vendor

# Twilio's tests sign for this address.
PUBLIC = "https://jobs.example.com"

Rows = Callable[[], list[dict[str, Any]]]


@contextmanager
def trusting(vendor: Vendor, *secrets: Secret) -> Iterator[None]:
    """The environment in which what these secrets sign is that vendor's."""
    made = vendor.webhooks()
    assert made is not None
    with made.around() as around, pytest.MonkeyPatch.context() as patch:
        name = vendor.adapter().webhook_secrets[0]
        given = {"FERRYMAN_PUBLIC_URL": PUBLIC, **around}
        for variable, value in {**given, name: ",".join(one.value for one in secrets)}.items():
            patch.setenv(variable, value)
        settings.cache_clear()
        yield
    settings.cache_clear()


STRIPE = Vendor("stripe")


def event(id: str = "evt_1", **changes: Any) -> bytes:
    document = {"id": id, "type": "charge.succeeded", "created": 1795556943, "data": {}}
    return json.dumps({**document, **changes}).encode()


async def send(
    client: httpx.AsyncClient, delivery: Delivery, vendor: str = "stripe", **headers: str
) -> httpx.Response:
    return await client.post(
        f"/webhooks/{vendor}", content=delivery.body, headers={**delivery.headers, **headers}
    )


def is_problem(answer: httpx.Response, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{kind}"
