"""`SELECT ferryman.enqueue(…)`, the client's only statement that writes, and its refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferryman.errors import FerrymanError, InvalidArguments, KeyConflict, KeyInFlight

TYPES = {
    "kind": "text",
    "args": "jsonb",
    "key": "text",
    "run_at": "timestamptz",
    "vendor": "text",
    "priority": "text",
    "expires_at": "timestamptz",
    "id": "uuid",
}


def enqueue(mark: Callable[[str], str]) -> str:
    """The statement, with `mark(name)` where the driver puts that parameter.

    Each parameter is cast from text, so that no codec which the application has set for JSON,
    times or UUIDs comes into play.
    """
    given = ", ".join(f"{n} => CAST(CAST({mark(n)} AS text) AS {t})" for n, t in TYPES.items())
    return f"SELECT CAST(ferryman.enqueue({given}) AS text) AS id"


PYFORMAT = enqueue("%({})s".format)
NUMBERED = enqueue(lambda name: f"${list(TYPES).index(name) + 1}")
NAMED = enqueue(":{}".format)


@contextmanager
def refusals() -> Iterator[None]:
    """Turns the refusals of `ferryman.enqueue`, raised by any driver, into the client's errors.

    All else is passed on: it is the application's connection, and its driver's own error.
    """
    try:
        yield
    except Exception as error:
        if (ours := refusal(error)) is None:
            raise
        raise ours from error


def refusal(error: BaseException) -> FerrymanError | None:
    """The client's error for what the database raised, if it is one of its refusals."""
    for cause in _causes(error):
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if state == "FE409":
            return KeyConflict()
        if state == "55P03":
            return KeyInFlight()
        if state in ("FE404", "FE422"):
            field, _, message = _words(cause).partition(": ")
            return InvalidArguments(field, message)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The driver's error within those of SQLAlchemy (`orig`) and Django (`__cause__`)."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def _words(error: BaseException) -> str:
    told = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(told or error).partition("\n")[0]
