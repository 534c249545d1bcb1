"""What is a fake vendor? A name, an answer to every request, and its own way of refusing.

A vendor is one module (or package) of this folder, named as in vendors.toml, with a class `Fake`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import orjson

from sandbox.effects import EffectLog
from sandbox.ids import Ids
from sandbox.limits import Limits
from sandbox.store import Journal
from sandbox.webhooks import Webhooks


@dataclass(slots=True)
class Request:
    """A request as the vendor sees it: the path begins after the vendor's own prefix."""

    vendor: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Work = Callable[[], Answer]


def json_answer(status: int, document: object, **headers: str) -> Answer:
    """An answer with a JSON body; header names are given with underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, orjson.dumps(document), {"Content-Type": "application/json"} | named)


class UnknownAction(Exception):
    """The vendor's dashboard has no such action, or it was given what it cannot use."""


@dataclass(slots=True)
class World:
    """What the fakes share: effects, kept rows, rate limits, seeded ids, the way out for webhooks,
    and a folder for files that applications read."""

    journal: Journal
    effects: EffectLog
    limits: Limits
    ids: Ids
    webhooks: Webhooks
    folder: Path


class Vendor(ABC):
    """One fake vendor. Nothing here waits: a request is opened, done and closed in one go each,
    so that no two requests ever meet halfway."""

    name: ClassVar[str]
    key_header: ClassVar[str] = ""
    """The header that carries the idempotency key; empty where the vendor knows none."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Credentials this fake accepts, by the variable that an application keeps them in."""

    def __init__(self, world: World) -> None:
        self.world = world

    @classmethod
    def webhook_environment(cls, folder: Path) -> Mapping[str, str]:
        """What verifies this fake's webhooks, and nothing else does, by the variable that an
        application keeps it in; `folder` is the world's."""
        return {}

    @abstractmethod
    def open(self, request: Request) -> Answer | Work:
        """The answer, where nothing needs doing (refusals, replays); else the work to do."""

    def close(self, request: Request, answer: Answer) -> None:  # noqa: B027 - most have no memory
        """The work is done and this is its answer: the moment to store it under a key."""

    @abstractmethod
    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        """An error in the vendor's own words, for faults and rate limits."""

    def signed(self, event: bytes) -> Mapping[str, str]:
        """The headers of one delivery of a webhook, its signature among them; made anew for each
        try."""
        raise NotImplementedError(f"{self.name} sends no webhooks here")

    def headers(self, event: bytes, url: str) -> Mapping[str, str]:
        """The same, for a vendor that signs the address as well."""
        return self.signed(event)

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        """What a person would do in the vendor's web pages; the answer is sent back as JSON.

        Raises UnknownAction."""
        raise UnknownAction(f"{self.name} has no action {action!r} (given {sorted(arguments)})")
