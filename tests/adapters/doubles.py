"""What an adapter needs around it in a unit test: a ledger that only notes, a scripted vendor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from adapters._base import Repeat, Request, Response, VendorError
from adapters._http import HttpCall
from adapters._transport import leave
from ferryman.policies import policy

Answer = Response | VendorError
JOB = UUID("019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901")


@dataclass
class Notes:
    """A journal that keeps in memory what the ledger would keep."""

    job_id: UUID = JOB
    left: list[tuple[str, str, Repeat, Request]] = field(default_factory=list)
    without_effect: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    interactions: list[dict[str, Any]] = field(default_factory=list)
    in_doubt: set[str] = field(default_factory=set)

    def key(self, step: str) -> str:
        return f"{self.job_id}:{step}"

    async def leaving(self, step: str, key: str, repeat: Repeat, request: Request) -> Request:
        self.left.append((step, key, repeat, request))
        return request

    async def no_effect(self, step: str) -> None:
        self.without_effect.append(step)

    def answered(self, step: str) -> None:
        self.answers.append(step)

    def doubtful(self, step: str) -> bool:
        return step in self.in_doubt

    def saw(self, interaction: dict[str, Any]) -> None:
        self.interactions.append(interaction)


class Vendor:
    """In the place of `adapters._http.Client`: answers what `answer` says, and keeps requests."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.slots = asyncio.Semaphore(1000)
        self.requests: list[tuple[Request, Mapping[str, str]]] = []
        self._answer = answer

    async def send(self, request: Request, credentials: Mapping[str, str]) -> Response:
        await leave.get()()
        self.requests.append((request, credentials))
        answer = self._answer(request)
        if isinstance(answer, VendorError):
            raise answer
        return answer


def call(vendor: str, answer: Answer) -> tuple[HttpCall, Vendor, Notes]:
    """A way out to a vendor that always answers the same."""
    client, notes = Vendor(lambda _: answer), Notes()
    made = HttpCall(vendor, client, policy(vendor), notes)  # type: ignore[arg-type]
    return made, client, notes
