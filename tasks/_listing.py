"""What lies below a folder, in the order of a bucket's listing. It is found by descriptors alone,
so that nothing outside is looked at, whatever is put in the way meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from tasks._ends import Entry, Unsyncable
from tasks._keys import LONGEST_BYTES
from tasks._rooted import Root, version_of
from tasks._temporary import Temporary

NOT_FOLLOWED: Final = "a link that is not followed"
NOT_NAMED: Final = "a link to a file whose name is not UTF-8"
NOT_A_FILE: Final = "it is not a regular file"
UNREADABLE: Final = "the folder cannot be read"
TOO_DEEP: Final = f"the key is longer than {LONGEST_BYTES} bytes"

# What one folder holds: entries, and the folders in it.
Found = Entry | bytes


class Listing:
    """One folder with all below it. In memory are the names of one folder a level, about 60 bytes
    each: to sort them, all of a folder have to be known."""

    def __init__(self, root: Root, temporary: Temporary, *, target: bool) -> None:
        self._root = root
        self._temporary = temporary
        self._target = target

    def entries(self, after: str = "") -> Generator[Entry]:
        """Those beyond that key. What cannot be listed is an entry with a problem."""
        beyond = Entry(after).order
        open_ones = [self._within(b"", beyond)]
        while open_ones:
            found = next(open_ones[-1], None)
            if found is None:
                open_ones.pop()
            elif isinstance(found, bytes):
                open_ones.append(self._within(found, beyond))
            elif found.order > beyond:
                yield found

    def entry(self, folder: int, key: str) -> Entry | None:
        """The file of that key in its folder as it is now; None: there is none."""
        try:
            return self._entry(key, os.stat(_last(key), dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError:
            return None
        except OSError as error:
            return Entry(key, problem=f"it cannot be looked at: {error.strerror}")

    def _within(self, prefix: bytes, beyond: bytes) -> Iterator[Found]:
        """The folder whose keys begin with the prefix. It is open only while files are looked at:
        a deep tree must not use up the descriptors."""
        names = self._names(prefix)
        if isinstance(names, Entry):
            yield names
            return
        ahead = (name for name in _used_up(names) if _may_hold(prefix + name, beyond))
        for is_folder, group in groupby(ahead, key=_is_folder):
            if is_folder:
                yield from (self._deeper(prefix + name) for name in group)
            else:
                yield from self._files(prefix, group)

    def _names(self, prefix: bytes) -> list[bytes] | Entry:
        """All names, the last one first; those of folders end in a slash, so that they stand where
        the keys below them do: `a.txt` comes before `a/b`."""
        try:
            with self._root.folder(_parts(prefix)) as folder, os.scandir(folder) as scan:
                names = [_name(found) for found in scan]
        except FileNotFoundError:
            return []  # gone since its parent was listed, or a target that is yet to be made
        except (OSError, Unsyncable):
            return Entry(os.fsdecode(prefix) or "/", problem=UNREADABLE)
        names.sort(reverse=True)
        return names

    def _deeper(self, prefix: bytes) -> Found:
        if len(prefix) <= LONGEST_BYTES:
            return prefix
        return Entry(os.fsdecode(prefix), problem=TOO_DEEP)

    def _files(self, prefix: bytes, names: Iterator[bytes]) -> Iterator[Entry]:
        try:
            with self._root.folder(_parts(prefix)) as folder:
                for key in (os.fsdecode(prefix + name) for name in names):
                    if self._is_temporary(folder, _last(key)):
                        continue
                    if entry := self.entry(folder, key):
                        yield entry
        except FileNotFoundError:
            return
        except (OSError, Unsyncable):
            for name in names:
                yield Entry(os.fsdecode(prefix + name), problem=UNREADABLE)

    def _is_temporary(self, folder: int, name: str) -> bool:
        """Files that are not whole are no content. At a target the old ones are cleared away."""
        if self._target:
            return self._temporary.drop(folder, name)
        return self._temporary.is_one(name)

    def _entry(self, key: str, status: os.stat_result) -> Entry:
        if stat.S_ISLNK(status.st_mode):
            return self._behind(key)
        if not stat.S_ISREG(status.st_mode):
            return Entry(key, problem=NOT_A_FILE)
        return _file(key, status)

    def _behind(self, key: str) -> Entry:
        """The file a link leads to, if it lies below the root. At a target none is followed."""
        with suppress(OSError, Unsyncable):
            path = None if self._target else self._root.behind(key)
            status = self._root.stat(path) if path else None
            if path and status is not None and stat.S_ISREG(status.st_mode):
                return (
                    _file(key, status, path) if _storable(path) else Entry(key, problem=NOT_NAMED)
                )
        return Entry(key, problem=NOT_FOLLOWED)


def _file(key: str, status: os.stat_result, path: str | None = None) -> Entry:
    modified = _moment(status.st_mtime)
    return Entry(key, status.st_size, modified, path=path, version=version_of(status))


def _moment(seconds: float) -> datetime | None:
    """None: a file's time may be any, and lie beyond all calendars. It proves nothing anyway."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _storable(path: str) -> bool:
    """Whether the ledger can hold the path."""
    try:
        return bool(path.encode())
    except UnicodeEncodeError:
        return False


def _name(found: os.DirEntry[str]) -> bytes:
    return os.fsencode(found.name) + (b"/" if found.is_dir(follow_symlinks=False) else b"")


def _is_folder(name: bytes) -> bool:
    return name.endswith(b"/")


def _may_hold(path: bytes, beyond: bytes) -> bool:
    """Whether a file, or any below a folder, comes after that key."""
    return path > beyond or (_is_folder(path) and beyond.startswith(path))


def _used_up(names: list[bytes]) -> Iterator[bytes]:
    """The last is the first, and is not kept."""
    while names:
        yield names.pop()


def _parts(prefix: bytes) -> list[str]:
    return os.fsdecode(prefix).split("/")[:-1]


def _last(key: str) -> str:
    return key.rpartition("/")[2]
