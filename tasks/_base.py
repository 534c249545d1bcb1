"""A kind of job: what it does in one attempt. Plain async code that knows no queue.

A file in this folder that does not begin with `_` holds one subclass of `Job`, found by name.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

import tasks
from adapters._base import Adapter, Call, Unknown
from ferryman.policies import Policy
from ferryman.requests import Request
from models.jobs import is_held

# So long a job that runs is left to find out by itself what an event tells of it.
PATIENCE_SECONDS = 60.0
# So much later than another may an event be that happened before it.
LONGEST_ORDER_SECONDS = 86_400.0

Row = dict[str, Any]
Asked = TypeVar("Asked", bound=Request)


class Transactions(Protocol):
    """The ledger as a job sees it: short transactions of its own, never open during a call."""

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]: ...

    def long_transaction(self) -> AbstractAsyncContextManager[AsyncConnection]: ...


class Refusal(Exception):
    """The job cannot be done, by what the ledger knows; nothing was sent. `code` is neutral."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[Refusal], tuple[str, str]]:
        # Celery tries to pickle what a task raises, and else takes it for an unexpected error.
        return type(self), (self.code, self.message)


class Stopped(Exception):
    """What was under way at the vendor is stopped there, as was asked: it has no effect."""


class NotHeld(Exception):
    """The job is another attempt's by now, or has ended."""


class Wait(Exception):
    """The job must wait for something else; no attempt is used. It looks again after `seconds`,
    and more seldom the longer it has waited; `exact`: always after so many, since what it waits
    for wakes it."""

    def __init__(self, reason: str, seconds: float, *, exact: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds
        self.exact = exact


@dataclass(frozen=True)
class Done:
    """The effect is proven. `result` is what the client sees; `writes` are rows by table, which
    are committed together with the job's end."""

    result: Row
    writes: dict[str, list[Row]] = field(default_factory=dict)


class Pending(Exception):
    """The effect is under way at the vendor, and its payer or a bank decides: the job waits for
    that, and looks again after `seconds`. `so_far` is what is known and to be written."""

    def __init__(self, reason: str, seconds: float, so_far: Done) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds
        self.so_far = so_far

    def __reduce__(self) -> tuple[type[Exception], tuple[str]]:
        # What Celery pickles must not carry a result.
        return Exception, (self.reason,)


Reach = Callable[[str], Awaitable[tuple[Adapter, Call]]]
"""The vendor whose addresses begin so (`s3`, `gs`), and the way out to it in the same attempt.
Raises KeyError where there is none, Wait where it is not to be called now."""


async def _nobody_else(scheme: str) -> tuple[Adapter, Call]:
    raise KeyError(scheme)


@dataclass
class Attempt(Generic[Asked]):
    """One execution of a job, as the job's own code sees it."""

    id: UUID
    vendor: str
    args: Asked
    batch_id: UUID | None
    adapter: Adapter
    call: Call
    ledger: Transactions
    policy: Policy
    fence: int = 0
    since: datetime | None = None
    """When this job's first request may have left."""
    pending: bool = False
    """An earlier attempt has left the effect under way at the vendor."""
    cancel_asked: bool = False
    expired: bool = False
    reach: Reach = _nobody_else
    interactions: Callable[[], Sequence[Row]] = tuple
    """What was exchanged until now, as the ledger is to keep it."""

    @asynccontextmanager
    async def held(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for what belongs to this job alone: nobody takes, ends or cancels it
        meanwhile. Raises NotHeld."""
        async with self.ledger.transaction() as connection:
            if not await is_held(connection, self.id, self.fence):
                raise NotHeld
            yield connection


@dataclass(frozen=True)
class Heard:
    """One piece of news, who tells it, and the event's id at the vendor. `new_id`: for a row that
    is made of it. `age_seconds`: since it came. `read`: it was read at the vendor just now."""

    vendor: str
    news: Any
    event_id: str
    new_id: UUID
    age_seconds: float = 0.0
    read: bool = False

    @property
    def patient(self) -> bool:
        """Whether the job that it is about may be left to end by itself first."""
        return not self.read and self.age_seconds < PATIENCE_SECONDS

    def wait_for_its_charge(self) -> None:
        """Events come in any order: that of a refund may come before that of its charge. Raises
        NotNow while that may be."""
        if not self.read and self.age_seconds < LONGEST_ORDER_SECONDS:
            raise NotNow("its charge is not known yet", self.age_seconds / 2)

    @property
    def who(self) -> str:
        return f"{self.vendor}, event {self.event_id}"


class NotNow(Exception):
    """The news is heard again after `seconds`: what it is about is still under way."""

    def __init__(self, why: str = "its job runs", seconds: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.seconds = seconds


class Job(ABC, Generic[Asked]):
    """One kind of job."""

    request: ClassVar[type[Request]]
    deadline_seconds: ClassVar[float] = 120.0
    """After so long an attempt is ended, whatever it waits for."""
    large: ClassVar[bool] = False
    """Arguments that may be too many to be checked on the event loop."""
    hears_many: ClassVar[bool] = False
    """Whether its news is heard many at a time."""
    has_parts: ClassVar[bool] = False
    """Whether it is done only when the jobs of its batch are, and is cancelled and sent again
    together with them."""
    one_run: ClassVar[bool] = False
    """Whether it carries other jobs (a load): however its attempt goes wrong it is over, and those
    that it carried wait again."""

    @abstractmethod
    async def run(self, attempt: Attempt[Asked]) -> Done:
        """Cause the effect once. Raises a VendorError, a Refusal or a Wait."""

    async def look_up(self, attempt: Attempt[Asked]) -> Done | None:
        """Find the effect at the vendor by our reference, sending nothing. None: it is absent,
        and so are those of all requests until now. Asked of the kinds in its adapter's `look_ups`;
        raises what `run` does."""
        raise Unknown("this cannot be looked up", for_person=True)

    async def known(
        self, connection: AsyncConnection, vendor: str, news: Sequence[Any]
    ) -> list[bool]:
        """Of each of these news, whether the ledger says the same already. A look without locks,
        for many at once."""
        return [False] * len(news)

    async def hear(self, connection: AsyncConnection, heard: Heard) -> str:
        """Let the ledger follow what a vendor tells by itself, in the caller's transaction. Returns
        in words what came of it. Raises NotNow."""
        return "nothing to do"

    async def hear_all(
        self, connection: AsyncConnection, told: Sequence[Heard]
    ) -> list[str | NotNow]:
        """The same for several, in one transaction; an answer for each. A kind of which very many
        are told (mails) does it in a few statements, and says so by `hears_many`."""
        answers: list[str | NotNow] = []
        for heard in told:
            try:
                async with connection.begin_nested():
                    answers.append(await self.hear(connection, heard))
            except NotNow as error:
                answers.append(error)
        return answers

    def resolved(self, id: UUID, vendor: str, args: Asked) -> Done:
        """What is written when a person says that the job had its effect."""
        return Done({"id": str(id), "vendor": vendor, "status": "succeeded"})

    def cancelled(self, id: UUID) -> dict[str, list[Row]]:
        """Rows to write when the job is cancelled before any effect."""
        return self.refused(id)

    def again(self, id: UUID) -> dict[str, list[Row]]:
        """Rows to write when a person sends the ended job again."""
        return {}

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        """Rows to write when the job ends without effect (what it had reserved is given back)."""
        return {}

    def in_doubt(self, id: UUID) -> dict[str, list[Row]]:
        """Rows to write when the job becomes `unknown`."""
        return {}

    def waits(self, id: UUID) -> dict[str, list[Row]]:
        """Rows to write when the job has to wait for something else (`Wait`)."""
        return {}


def jobs() -> Iterator[Job[Any]]:
    """Every kind of job, one a file of this folder."""
    for found in pkgutil.iter_modules(tasks.__path__):
        if not found.name.startswith("_"):
            module = importlib.import_module(f"tasks.{found.name}")
            yield from (made() for _, made in inspect.getmembers(module, _is_job_of(module)))


def _is_job_of(module: ModuleType) -> Callable[[object], bool]:
    return lambda found: (
        isinstance(found, type) and issubclass(found, Job) and found.__module__ == module.__name__
    )


def timestamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
