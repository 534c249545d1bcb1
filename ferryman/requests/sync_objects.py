"""`sync_objects`: make one place hold what another holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from ferryman import globs, locations
from ferryman.errors import InvalidArguments
from ferryman.requests._base import Request
from ferryman.requests._fields import Label

MOST_PATTERNS = 100
MOST_AT_ONCE = 64


def _is_location(address: str) -> str:
    locations.parse(address)
    return address


def _is_pattern(pattern: str) -> str:
    globs.check(pattern)
    return pattern


Address = Annotated[str, AfterValidator(_is_location)]
Pattern = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_is_pattern)]
Patterns = Annotated[list[Pattern], Field(max_length=MOST_PATTERNS)]


class SyncObjects(Request):
    """Copy what is new or changed from `source` to `destination`, folders and all.

    With `delete`, what the source does not have is removed at the destination once all is copied,
    up to `max_delete` percent of what is there (10), or any number with `force`. With `dry_run`,
    nothing is written; the result says what would have been.

    `include`, `exclude`: patterns of keys; what they leave out is neither copied nor deleted.
    `compare`: two objects of one size are the same by what is known to prove their content; with
    `checksum` only by one of the content as it is now at both ends, with `size` at once.
    `concurrency`: transfers at once in each part. `bandwidth`: bytes a second, over all workers.
    `storage_class`, `encryption`: how the objects are to be kept, in the words of the destination's
    vendor.
    """

    kind: ClassVar[str] = "sync_objects"

    source: Address
    destination: Address
    delete: bool | None = None
    dry_run: bool | None = None
    include: Patterns | None = None
    exclude: Patterns | None = None
    compare: Literal["checksum", "size"] | None = None
    max_delete: Annotated[int, Field(ge=0, le=100)] | None = None
    force: bool | None = None
    concurrency: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] | None = None
    bandwidth: Annotated[int, Field(ge=1024)] | None = None
    storage_class: Label | None = None
    encryption: Label | None = None

    def check_here(self) -> None:
        source = locations.parse(self.source)
        if not source.remote and not Path(source.path).is_dir():
            raise InvalidArguments("source", "is not a folder on this machine")

    def _agree(self) -> None:
        source, destination = locations.parse(self.source), locations.parse(self.destination)
        if source.contains(destination) or destination.contains(source):
            raise InvalidArguments("destination", "must lie outside the source, and not around it")
        for name in ("max_delete", "force"):
            if getattr(self, name) is not None and not self.delete:
                raise InvalidArguments(name, "is of use only with `delete`")
        if self.force and self.max_delete is not None:
            raise InvalidArguments("force", "lifts the limit that `max_delete` sets: give only one")
        for name in ("storage_class", "encryption"):
            if getattr(self, name) is not None and not destination.remote:
                raise InvalidArguments(name, "is of use only where the destination is a bucket")
