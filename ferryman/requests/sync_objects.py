"""`sync_objects`: make one place hold what another holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from ferryman import locations
from ferryman.errors import InvalidArguments
from ferryman.requests._base import Request


def _is_location(address: str) -> str:
    locations.parse(address)
    return address


Address = Annotated[str, AfterValidator(_is_location)]


class SyncObjects(Request):
    """Copy what is new or changed from `source` to `destination`, folders and all.

    With `delete`, what the source does not have is removed at the destination. With `dry_run`,
    nothing is written; the result says what would have been.
    """

    kind: ClassVar[str] = "sync_objects"

    source: Address
    destination: Address
    delete: bool | None = None
    dry_run: bool | None = None

    def check_here(self) -> None:
        source = locations.parse(self.source)
        if not source.remote and not Path(source.path).is_dir():
            raise InvalidArguments("source", "is not a folder on this machine")

    def _agree(self) -> None:
        source, destination = locations.parse(self.source), locations.parse(self.destination)
        if not source.remote and not destination.remote:
            raise InvalidArguments("destination", "must be a bucket where the source is a folder")
        if source.contains(destination) or destination.contains(source):
            raise InvalidArguments("destination", "must lie outside the source, and not around it")
