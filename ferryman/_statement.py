"""`SELECT ferryman.enqueue(…)` and its kin for many jobs, the client's only statements that write,
and their refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Statement:
    """One statement in the three ways in which drivers name their parameters."""

    names: tuple[str, ...]
    pyformat: str
    numbered: str
    named: str


def _statement(written: Callable[[Callable[[str], str]], str], *names: str) -> Statement:
    return Statement(
        names,
        pyformat=written("%({})s".format),
        numbered=written(lambda name: f"${names.index(name) + 1}"),
        named=written(":{}".format),
    )


def _one(mark: Callable[[str], str]) -> str:
    given = ", ".join(f"{n} => {_cast(mark(n), t)}" for n, t in TYPES.items())
    return f"SELECT CAST(ferryman.enqueue({given}) AS text) AS id"


def _many(mark: Callable[[str], str]) -> str:
    called = f"ferryman.enqueue_many({_cast(mark('jobs'), 'jsonb')}, {_cast(mark('first'), 'int')})"
    return f"SELECT CAST(array_to_json(ARRAY(SELECT {called})) AS text) AS ids"  # no value


def _cast(marked: str, type_: str) -> str:
    """A parameter sent as text, so that no codec which the application has set for JSON, times or
    UUIDs comes into play."""
    return f"CAST(CAST({marked} AS text) AS {type_})"


ENQUEUE = _statement(_one, *TYPES)
ENQUEUE_MANY = _statement(_many, "jobs", "first")

# For a transaction of the client's own: a key that stands in somebody's open transaction must not
# hold up this caller.
PATIENCE = "set_config('lock_timeout', '1s', true)"
ENQUEUE_ALONE = ENQUEUE.pyformat.replace("SELECT", f"SELECT {PATIENCE},", 1)
# Of many jobs only those are told that were not stored anew under the id they came with.
ENQUEUE_EACH_ALONE = f"""
WITH given AS MATERIALIZED (
  SELECT {PATIENCE}, CAST(CAST(%(jobs)s AS text) AS jsonb) AS jobs
)
SELECT r.place - 1 AS place, CAST(r.id AS text) AS id, r.state, r.problem
  FROM given, ferryman.enqueue_each(given.jobs)
       WITH ORDINALITY AS r(id, state, problem, place)
 WHERE r.state IS NOT NULL
    OR CAST(r.id AS text) <> given.jobs -> (CAST(r.place AS int) - 1) ->> 'id'
"""  # noqa: S608  # no value


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
        if found := named(str(state), _words(cause)):
            return found
    return None


def named(state: str, words: str) -> FerrymanError | None:
    """The client's error for a SQLSTATE and its message, if it is a refusal of ferryman's."""
    field, _, message = words.partition(": ")
    place = f"{field.partition(']')[0]}]: " if field.startswith("jobs[") else ""
    if state == "FE409":
        return KeyConflict(place + KeyConflict().args[0])
    if state == "55P03":
        return KeyInFlight(place + KeyInFlight().args[0])
    return InvalidArguments(field, message) if state in ("FE404", "FE422") else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The driver's error within those of SQLAlchemy (`orig`) and Django (`__cause__`)."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def _words(error: BaseException) -> str:
    told = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(told or error).partition("\n")[0]
