"""What the client raises. Each message says what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID


class FerrymanError(Exception):
    """The base of everything ferryman raises towards an application.

    `stored`, from `enqueue_many`: the ids of the jobs that are stored nevertheless, by their
    place, with None in the place of those that are not.
    """

    stored: Sequence[UUID | None] = ()

    def __init__(self, message: str | None = None) -> None:
        # Unless there is more to say, the class tells what is wrong and what to do.
        super().__init__(message or " ".join(str(self.__doc__).split()))

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle would call the class with the finished message, where it takes a field and words.
        return Exception.__new__, (type(self), *self.args), self.__dict__


class MissingSetting(FerrymanError):
    """A setting is absent; the message names the environment variable to set."""

    def __init__(self, variable: str, hint: str) -> None:
        super().__init__(f"{variable} is not set: {hint}")
        self.variable = variable


class InvalidSetting(FerrymanError):
    """A setting has a value that cannot be used; the message names the environment variable."""

    def __init__(self, variable: str, hint: str) -> None:
        super().__init__(f"{variable} {hint}")
        self.variable = variable


class InvalidArguments(FerrymanError):
    """An argument is not acceptable; `field` names it. Nothing was stored and nothing was sent."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class KeyConflict(FerrymanError):
    """The key already names a job with other arguments. Use a new key, or the same arguments."""


class KeyInFlight(FerrymanError):
    """The key stands in somebody's open transaction. Try again when that has ended."""


class NotFound(FerrymanError):
    """There is no job or batch with that id; it may stand in a transaction that is not
    committed yet."""


class Forbidden(FerrymanError):
    """The API refused the token. Set FERRYMAN_API_TOKEN to one that the API knows."""


class NotPossible(FerrymanError):
    """The job's state does not allow that step (the message names the state)."""


class Unreachable(FerrymanError):
    """Neither the API nor the database answered. Nothing is known to have been stored."""
