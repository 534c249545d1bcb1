"""Names of files that are not whole yet, and what is done about those a kill has left."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from uuid import UUID

NAME = re.compile(r"\.(?P<job>[0-9a-f]{32})\.(?P<run>[0-9a-f]{12})-\d+\.ferryman")
# Longer than any attempt of a sync may take: nobody writes there any more.
OLD_SECONDS: Final = 24 * 3600.0


class Temporary:
    """The names of one run of a job."""

    def __init__(self, job_id: UUID) -> None:
        self._job = job_id.hex
        self._run = secrets.token_hex(6)
        self._numbers = itertools.count()
        self._cleared = set[tuple[int, int]]()

    def own(self) -> str:
        """A name that nobody else uses, for a file that is half written."""
        return f".{self._job}.{self._run}-{next(self._numbers)}.ferryman"

    def of(self, name: str) -> str:
        """For a whole file, in the moment before it takes the place of `name`. A later run of the
        job finds it again, should this be its last moment."""
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()
        return f".{self._job}.{digest[:12]}-0.ferryman"

    def clear(self, folder: int) -> None:
        """Remove what earlier runs of this job left in a folder, once a run."""
        found = os.fstat(folder)
        place = (found.st_dev, found.st_ino)
        if place not in self._cleared:
            self._cleared.add(place)
            for name in list(_names(folder)):
                self.drop(folder, name)

    def is_one(self, name: str) -> bool:
        return NAME.fullmatch(name) is not None

    def drop(self, folder: int, name: str) -> bool:
        """The same; the file is removed where nobody writes it any more."""
        if not (mark := NAME.fullmatch(name)):
            return False
        # One that cannot be removed is no content either, and hides nothing beside it.
        with suppress(OSError):
            earlier = mark["job"] == self._job and mark["run"] != self._run
            if earlier or _is_old(folder, name):
                os.unlink(name, dir_fd=folder)
        return True


def _names(folder: int) -> Iterator[str]:
    with os.scandir(folder) as scan:
        yield from (found.name for found in scan if NAME.fullmatch(found.name))


def _is_old(folder: int, name: str) -> bool:
    written = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
    return time.time() - written > OLD_SECONDS
