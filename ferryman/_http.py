"""Ferryman's HTTP API, as its client sees it. Nothing is sent twice of its own accord, but for what
the API's rate limit kept out."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import quote
from uuid import UUID

import httpx

from ferryman import _lines
from ferryman._door import Answer
from ferryman._order import Order
from ferryman._problems import problem
from ferryman.errors import Unreachable
from ferryman.uploads import Body, media_type

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 30.0
NO_CONTENT = 204
TOO_MANY = 429
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# One long poll; the API may answer earlier.
LONGEST_WAIT = 20.0
# As many jobs or suppressions as the API gives at once.
PAGE = 200

Document = dict[str, Any]


class Api:
    """A door to the API at `url`."""

    def __init__(self, url: str, token: str | None) -> None:
        parsed = httpx.URL(url)
        self._name = f"{parsed.scheme}://{parsed.netloc.decode().rpartition('@')[2]}"
        self.local = parsed.host in LOOPBACK
        self._client = httpx.Client(
            base_url=parsed,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            # A proxy of the environment cannot know this machine's loopback.
            trust_env=not self.local,
        )

    def enqueue(self, order: Order) -> Document:
        return self._call("POST", "v1/jobs", json=order.document())

    def enqueue_many(self, orders: Sequence[Order]) -> list[Answer]:
        response = self._send(
            "POST", "v1/jobs/bulk", content=_lines.body(orders), headers=_lines.HEADERS
        )
        if response.is_success:
            try:
                return _lines.answers(response.text, orders, problem)
            except (ValueError, KeyError, AttributeError):
                raise self._stranger(response) from None
        self._read(response)
        raise self._stranger(response)

    def job(self, id: UUID, wait: float = 0) -> Document:
        seconds = min(wait, LONGEST_WAIT)
        asked = {"wait": f"{seconds:.1f}"} if wait > 0 else {}
        return self._call("GET", f"v1/jobs/{id}", params=asked)

    def jobs(self, filters: Mapping[str, str], limit: int) -> Iterator[Document]:
        return self._pages("jobs", filters, limit)

    def states(self, ids: Sequence[UUID]) -> list[Document]:
        asked = {"ids": list(map(str, ids))}
        return list(self._call("POST", "v1/jobs/states", json=asked)["jobs"])

    def batch(self, id: UUID) -> Document:
        return self._call("GET", f"v1/batches/{id}")

    def objects(self, id: UUID, actions: Sequence[str]) -> Iterator[Document]:
        asked = {"action": list(actions)}
        return self._pages(f"batches/{id}/objects", asked, sys.maxsize)

    def upload(self, file: BinaryIO, format: str) -> Document:
        headers = {"Content-Type": media_type(format)}
        return self._call("POST", "v1/uploads", content=Body(file), headers=headers)

    def retry(self, id: UUID, note: str | None = None) -> Document:
        return self._call("POST", f"v1/jobs/{id}/retry", json=_noted(note))

    def replay(self, filters: Mapping[str, str], *, dry_run: bool) -> int:
        asked = {**filters, "dry_run": dry_run}
        return int(self._call("POST", "v1/jobs/retry", json=asked)["count"])

    def cancel(self, id: UUID, note: str | None = None) -> Document:
        return self._call("POST", f"v1/jobs/{id}/cancel", json=_noted(note))

    def resolve(self, id: UUID, outcome: str, note: str) -> Document:
        found = {"outcome": outcome, "note": note}
        return self._call("POST", f"v1/jobs/{id}/resolve", json=found)

    def vendors(self) -> Document:
        return self._call("GET", "v1/vendors")

    def vendor(self, name: str, step: str, note: str) -> Document:
        return self._call("POST", f"v1/vendors/{quote(name, safe='')}/{step}", json=_noted(note))

    def poll_events(self, vendor: str, since_seconds: int | None = None) -> Document:
        asked = {} if since_seconds is None else {"since_seconds": since_seconds}
        path = f"v1/vendors/{quote(vendor, safe='')}/poll-events"
        return self._call("POST", path, json=asked)

    def batch_step(self, id: UUID, step: str, note: str | None = None) -> Document:
        return self._call("POST", f"v1/batches/{id}/{step}", json=_noted(note))

    def table(self, id: UUID, what: str, filters: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        asked = {"format": "csv", **{name: list(words) for name, words in filters.items()}}
        with (
            self._reached(),
            self._client.stream("GET", f"v1/batches/{id}/{what}", params=asked) as response,
        ):
            if not response.headers.get("content-type", "").startswith("text/csv"):
                response.read()
                self._read(response)
                raise self._stranger(response)
            yield from response.iter_bytes()

    def suppressions(self, filters: Mapping[str, str], limit: int) -> Iterator[Document]:
        return self._pages("suppressions", filters, limit)

    def suppress(self, channel: str, address: str, note: str | None = None) -> Document:
        asked = {"channel": channel, "address": address, **_noted(note)}
        return self._call("POST", "v1/suppressions", json=asked)

    def unsuppress(self, channel: str, address: str) -> None:
        response = self._send("DELETE", f"v1/suppressions/{channel}/{quote(address, safe='')}")
        if response.status_code != NO_CONTENT:
            self._read(response)
            raise self._stranger(response)

    def sync_suppressions(self, vendor: str) -> Document:
        return self._call("POST", f"v1/vendors/{quote(vendor, safe='')}/sync-suppressions", json={})

    def _pages(self, path: str, filters: Mapping[str, Any], limit: int) -> Iterator[Document]:
        asked = {**filters, "limit": str(min(limit, PAGE))}
        what = path.rpartition("/")[2]
        while limit > 0:
            page = self._call("GET", f"v1/{path}", params=asked)
            yield from page[what][:limit]
            limit -= len(page[what])
            if not page.get("next"):
                return
            asked["cursor"] = page["next"]

    def _call(self, method: str, path: str, **request: Any) -> Document:
        return self._read(self._send(method, path, **request))

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Raises Unreachable. A request above the token's rate is sent when there is room again."""
        until = time.monotonic() + ANSWER_SECONDS
        while True:
            response = self._once(method, path, **request)
            seconds = _told_to_wait(response)
            if seconds is None or time.monotonic() + seconds > until:
                return response
            time.sleep(seconds)

    def _once(self, method: str, path: str, **request: Any) -> httpx.Response:
        with self._reached():
            return self._client.request(method, path, **request)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raises Unreachable in place of what httpx raises."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise Unreachable(
                f"no ferryman API answers at {self._name}; nothing was stored. Is"
                " `ferryman api` running, and FERRYMAN_URL right?"
            ) from None
        except httpx.TransportError:
            raise Unreachable(
                f"{self._name} did not answer; whether anything was stored is not known. Asking"
                " again with the same key is safe"
            ) from None

    def _read(self, response: httpx.Response) -> Document:
        try:
            document = response.json()
        except ValueError:
            document = None
        if isinstance(document, dict):
            if response.is_success:
                return document
            if "title" in document or "detail" in document:
                raise problem(response.status_code, document)
        raise self._stranger(response)

    def _stranger(self, response: httpx.Response) -> Unreachable:
        return Unreachable(
            f"what answers at {self._name} is not ferryman's API (status {response.status_code});"
            " is FERRYMAN_URL right?"
        )


def _told_to_wait(response: httpx.Response) -> float | None:
    """Seconds until the rate has room, with some of one's own, so that not all come at once."""
    told = response.headers.get("retry-after", "")
    if response.status_code != TOO_MANY or not told.isdecimal():
        return None
    return int(told) * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, hides nothing


def _noted(note: str | None) -> Document:
    return {} if note is None else {"note": note}
