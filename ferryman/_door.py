"""The way to ferryman that the settings choose: its HTTP API, or its database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from uuid import UUID

from ferryman._order import Order
from ferryman.errors import FerrymanError, InvalidSetting, MissingSetting
from ferryman.settings import Settings, settings

if TYPE_CHECKING:
    from ferryman._http import Api

Document = dict[str, Any]
Answer = UUID | FerrymanError
ENDED = frozenset({"succeeded", "failed", "cancelled", "unknown"})


class Door(Protocol):
    """Each method raises Unreachable, and NotFound where an id is not known."""

    local: bool
    """Whether the other side is on this machine, and so, most likely, is the worker."""

    def enqueue(self, order: Order) -> Document:
        """The job's document; of a new job, at least its id, kind and status."""

    def enqueue_many(self, orders: Sequence[Order]) -> list[Answer]:
        """For each the id of its job, or why this one was not stored; the others are."""

    def job(self, id: UUID, wait: float = 0) -> Document:
        """The job, as soon as it has ended, or as it is after about `wait` seconds."""

    def jobs(self, filters: Mapping[str, str], limit: int) -> Iterator[Document]:
        """The newest `limit` jobs at most, newest first, read page by page."""

    def states(self, ids: Sequence[UUID]) -> list[Document]:
        """`id`, `status` and `error` of each of at most a thousand jobs, in no order."""

    def batch(self, id: UUID) -> Document:
        """A batch and its counts."""

    def objects(self, id: UUID, actions: Sequence[str]) -> Iterator[Document]:
        """What a sync does to each of its objects, in the order of their keys, read page by page:
        those with one of these actions."""

    def upload(self, file: BinaryIO, format: str) -> Document:
        """The list of recipients in a file that can be read twice: its id, format, rows, bytes and
        created_at. Raises InvalidArguments, naming the line at fault; then nothing is stored."""


class Controls(Protocol):
    """What a person does about jobs, batches and vendors. Raises as a Door does, and NotPossible
    where the state of a job or batch forbids it."""

    def retry(self, id: UUID, note: str | None = None) -> Document:
        """The job, with a `warning` where its effect may come about a second time."""

    def replay(self, filters: Mapping[str, str], *, dry_run: bool) -> int:
        """Retry the failed jobs that meet all of kind, vendor, code, since; how many those are."""

    def cancel(self, id: UUID, note: str | None = None) -> Document:
        """The job: cancelled, or as it is when it can no longer be stopped for sure."""

    def resolve(self, id: UUID, outcome: str, note: str) -> Document:
        """The job, which was unknown and is now what the outcome says."""

    def vendors(self) -> Document:
        """The scorecard: `{"vendors": […]}`."""

    def vendor(self, name: str, step: str, note: str) -> Document:
        """Pause or resume a vendor; its scorecard after that."""

    def poll_events(self, vendor: str, since_seconds: int | None = None) -> Document:
        """Have a vendor's own list of events read; the job that does it."""

    def batch(self, id: UUID) -> Document:
        """As a Door's."""

    def batch_step(self, id: UUID, step: str, note: str | None = None) -> Document:
        """Pause, resume, cancel or retry (what failed of) a batch; the batch after that."""

    def table(self, id: UUID, what: str, filters: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        """A CSV, in pieces: the `recipients` or `objects` of a batch that meet all filters, each
        of which names what will do."""

    def suppressions(self, filters: Mapping[str, str], limit: int) -> Iterator[Document]:
        """The first `limit` that meet all of channel, address, reason, by channel and address."""

    def suppress(self, channel: str, address: str, note: str | None = None) -> Document:
        """Send nothing more there; the suppression, which may have stood there before."""

    def unsuppress(self, channel: str, address: str) -> None:
        """Let that address be sent to again. Raises NotFound."""

    def sync_suppressions(self, vendor: str) -> Document:
        """Have a vendor's own list of suppressed addresses read; the job that does it."""

    def job(self, id: UUID, wait: float = 0) -> Document:
        """As a Door's."""


def door() -> Door:
    """For applications: FERRYMAN_URL where it is set, else the database.

    Raises MissingSetting or InvalidSetting.
    """
    found = settings()
    return api(found.url, found) if found.url else database(found.resolve_database_url())


def command_line_door() -> Door:
    """For the command line, which would rather talk to the API of a running `ferryman up`."""
    found = settings()
    if found.url or found.database_url:
        return door()
    state = found.running()
    if state is None:
        hint = f"set it, or start `ferryman up` (looked for in {found.home})"
        raise MissingSetting("FERRYMAN_URL", "production needs it" if found.production else hint)
    return api(str(state["api_url"]), found)


def controls() -> Controls:
    """The HTTP API of FERRYMAN_URL, else that of a running `ferryman up` on the same ledger. The
    rules of each kind stand there: through the database alone there is no such way.

    Raises MissingSetting or InvalidSetting.
    """
    found = settings()
    if found.url:
        return api(found.url, found)
    state = found.running()
    if state is None or found.database_url not in (None, "", state["database_url"]):
        hint = "this needs the HTTP API, of `ferryman api` or of a running `ferryman up`"
        raise MissingSetting("FERRYMAN_URL", hint)
    return api(str(state["api_url"]), found)


def api(url: str, found: Settings) -> Api:
    if not url.startswith(("http://", "https://")):
        raise InvalidSetting("FERRYMAN_URL", "must begin with http:// or https://")
    return _api(url, next(iter(found.tokens()), None), os.getpid())


def database(url: str) -> Door:
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidSetting("FERRYMAN_DATABASE_URL", "must begin with postgresql://")
    return _database(url, os.getpid())


# One each per process: connections must not be shared with a forked child.
@lru_cache(maxsize=4)
def _api(url: str, token: str | None, pid: int) -> Api:
    from ferryman._http import Api

    return Api(url, token)


@lru_cache(maxsize=4)
def _database(url: str, pid: int) -> Door:
    from ferryman._database import Database

    return Database(url)
