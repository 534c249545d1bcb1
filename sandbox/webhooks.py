"""Who is told of events? Webhooks, signed and sent over HTTP to the targets that were set.

A delivery is tried until its target answers 2xx, as vendors do, though for seconds and not for
days. Nothing waits for it: a webhook may well be there before the answer to the request.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
"""Seconds before each try but the first: 17 in all, which a restart of the target fits in."""
SHUFFLE_SECONDS = 0.2
ANSWER_SECONDS = 10.0
AT_ONCE = 16
KEPT = 10_000

Body = bytes | Callable[[], bytes]
"""What is sent; or what makes it, the same each time, so that it needs no room until then."""

Sign = Callable[[str, bytes, str], Mapping[str, str]]
"""The headers of one try, for a vendor's name, the body, and the address that is called."""


class BadTarget(ValueError):
    """A target that no webhook may be sent to."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"url: {url!r} is not on this machine: http://127.0.0.1:PORT/PATH is expected, since"
            " nothing leaves the sandbox for elsewhere"
        )


@dataclass(slots=True)
class Target:
    """Where one vendor's webhooks go. `duplicates`: how often each is sent; `shuffle`: in any
    order; `hold`: not before they are released; `delay`: so many seconds after the event."""

    url: str
    duplicates: int = 1
    shuffle: bool = False
    hold: bool = False
    delay: float = 0.0


@dataclass(slots=True)
class Delivery:
    """One copy of an event on its way. `tries` are the statuses it got, None for no answer; `url`:
    the address that was given for this event, in place of the target's."""

    vendor: str
    id: str
    type: str | None
    body: Body
    tries: list[int | None] = field(default_factory=list)
    url: str | None = None

    @property
    def delivered(self) -> bool:
        return bool(self.tries) and _taken(self.tries[-1])


class Webhooks:
    """The targets, what is queued for them, and how earlier deliveries went."""

    def __init__(self, sign: Sign, seed: int = 1) -> None:
        self._sign = sign
        self._random = Random(f"{seed}:webhooks")
        self._targets: dict[str, Target] = {}
        self._known: deque[Delivery] = deque(maxlen=KEPT)
        self._held: dict[str, list[Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(AT_ONCE)
        self._http: aiohttp.ClientSession | None = None

    def aim(self, vendor: str, target: Target | None) -> None:
        """From now on the vendor's webhooks go there, also those that are on their way; to None:
        nowhere, and what is queued is dropped. Raises BadTarget."""
        if target is None:
            self._targets.pop(vendor, None)
            self._held.pop(vendor, None)
            return
        check(target.url)
        self._targets[vendor] = target
        if not target.hold:
            self.release(vendor)

    def target(self, vendor: str) -> Target | None:
        """Where the vendor's webhooks go: None, nowhere, so that there is nothing to make."""
        return self._targets.get(vendor)

    def send(
        self,
        vendor: str,
        event_id: str,
        body: Body,
        type: str | None = None,
        url: str | None = None,
    ) -> None:
        """Queues an event for the vendor's target, if it has one. `type`: what a body that is no
        JSON, or is made later, is about. `url`: where the application wants this event; nowhere,
        if that is not on this machine."""
        target = self._targets.get(vendor)
        if url is not None:
            target = (target or Target(url)) if is_here(url) else None
        if target is None:
            return
        kind = type or (_type(body) if isinstance(body, bytes) else None)
        made = [Delivery(vendor, event_id, kind, body, url=url) for _ in range(target.duplicates)]
        self._known.extend(made)
        if target.hold:
            self._held.setdefault(vendor, []).extend(made)
        else:
            self._start(target, made)

    def release(self, vendor: str) -> int:
        """Sends what is held for the vendor; how many those are."""
        held = self._held.pop(vendor, [])
        if target := self._targets.get(vendor):
            self._start(target, held)
        return len(held)

    def deliveries(self, vendor: str | None = None) -> list[dict[str, Any]]:
        """The last ten thousand, in the order of their events."""
        return [
            {
                "vendor": one.vendor,
                "id": one.id,
                "type": one.type,
                "tries": one.tries,
                "delivered": one.delivered,
            }
            for one in self._known
            if vendor in (None, one.vendor)
        ]

    def reset(self) -> None:
        """Forgets targets, what is queued, and what was delivered."""
        for task in self._tasks:
            task.cancel()
        self._targets.clear()
        self._held.clear()
        self._known.clear()

    async def close(self) -> None:
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def _start(self, target: Target, deliveries: list[Delivery]) -> None:
        if target.shuffle:
            self._random.shuffle(deliveries)
        for delivery in deliveries:
            mixed = self._random.uniform(0, SHUFFLE_SECONDS) if target.shuffle else 0.0
            task = asyncio.create_task(self._deliver(delivery, target.delay + mixed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery, wait: float) -> None:
        """Tries until it is taken, or there is no target any more, or patience ends."""
        for pause in (wait, *PAUSES):
            if pause:
                await asyncio.sleep(pause)
            async with self._few:
                target = self._targets.get(delivery.vendor)
                url = delivery.url or (target and target.url)
                if not url:
                    return
                status = await self._try(delivery, url)
            delivery.tries.append(status)
            if _taken(status):
                return

    async def _try(self, delivery: Delivery, url: str) -> int | None:
        body = delivery.body if isinstance(delivery.body, bytes) else delivery.body()
        # Signed now: what is old by its own timestamp would be refused.
        headers = {"Content-Type": "application/json"}
        headers |= self._sign(delivery.vendor, body, url)
        try:
            async with self._session().post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._http


def check(url: str) -> None:
    """Raises BadTarget for an address that is not on this machine."""
    if not is_here(url):
        raise BadTarget(url)


def is_here(url: str) -> bool:
    """Whether it is an address on this machine."""
    try:
        parts = urlsplit(url)
        here = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
        return here and parts.port != 0 and parts.scheme == "http"
    except ValueError:
        return False


def _taken(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def _type(body: bytes) -> str | None:
    """The event's type, where vendors have it; of a list of events, the first one's."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(event, list):
        event = event[0] if event else None
    if not isinstance(event, dict):
        return None
    return next((event[name] for name in ("type", "event_type", "event") if name in event), None)
