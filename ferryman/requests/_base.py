"""What every kind of request has in common: checked when it is made, and unchangeable after."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from ferryman.errors import InvalidArguments
from ferryman.requests import _json
from ferryman.requests._words import field, first_problem


class Part(BaseModel):
    """An object within a request."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Request(Part):
    """The arguments of one kind of job. Making one raises InvalidArguments at the first problem."""

    kind: ClassVar[str]
    internal: ClassVar[bool] = False
    _args: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, /, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise first_problem(error, self.names()) from None
        args = {name: _plain(value) for name, value in given.items() if value is not None}
        try:
            _json.check(args)
        except _json.NotJson as error:
            raise InvalidArguments(field(error.path), error.message) from None
        self._args = args
        self._agree()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What this kind can be told."""
        return tuple(cls.model_fields)

    def args(self) -> dict[str, Any]:
        """The arguments as they were given, ready for JSON, without those that are None.

        A key is bound to these, so nothing is normalised here: `USD` stays `USD`.
        """
        return dict(self._args)

    def check_here(self) -> None:
        """What can be checked only where the job will run (a folder that must exist, say).

        For doors that know themselves to be on the worker's machine. Raises InvalidArguments.
        """

    def _agree(self) -> None:
        """Whether the arguments fit together. Raises InvalidArguments."""


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        # Not by `exclude_none`: a null within what a program gives (a field to clear) stays.
        return {name: _plain(found) for name, found in value if found is not None}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value
