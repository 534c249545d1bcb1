"""Callers of the fakes that take JSON: straight into one, or by an adapter over connections."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters._http import Client, HttpCall
from ferryman.policies import policy
from ferryman.testing import Sandbox
from sandbox.vendor import Answer, Request, Vendor
from tests.adapters import doubles


class Asker:
    """Asks one fake without HTTP."""

    def __init__(self, vendor: Vendor, **headers: str) -> None:
        self.vendor = vendor
        self.headers = {"content-type": "application/json"} | _named(headers)

    def answer(self, method: str, path: str, given: Any = b"", **headers: str) -> Answer:
        where, _, query = path.partition("?")
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        named = self.headers | _named(headers)
        asked = Request(self.vendor.name, method, where, query, named, body)
        outcome = self.vendor.open(asked)
        return outcome if isinstance(outcome, Answer) else outcome()

    def ask(self, method: str, path: str, given: Any = b"", **headers: str) -> tuple[int, Any]:
        answer = self.answer(method, path, given, **headers)
        return answer.status, json.loads(answer.body)

    def totals(self) -> dict[str, int]:
        return self.vendor.world.effects.totals().get(self.vendor.name, {})


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@asynccontextmanager
async def calling(
    vendor: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[HttpCall]:
    """An adapter's way to the fake, over real connections."""
    for name, value in sandbox.environment().items():
        if name.startswith(f"{vendor.upper()}_"):
            monkeypatch.setenv(name, value)
    client = Client(policy(vendor))
    yield HttpCall(vendor, client, policy(vendor), doubles.Notes())
    await client.close()
