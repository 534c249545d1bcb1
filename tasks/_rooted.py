"""Files below one folder, opened so that no link leads out of it, also when one is put in the
way meanwhile: each part of a path is opened from the folder before it, never by its name alone."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import Self

from tasks._base import Refusal
from tasks._ends import Unsyncable

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe put in a file's place must not hang its reader.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Root:
    """A folder. `path` itself may be reached through links; nothing below it may."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)

    def check_source(self) -> None:
        """Raises Refusal when this is no folder that can be read here."""
        if not os.path.lexists(self.path):
            raise Refusal("source_missing", "source: there is no such folder on this machine")
        if not os.path.isdir(self.path):
            raise Refusal("source_not_a_folder", "source: it is not a folder")
        if not os.access(self.path, os.R_OK | os.X_OK):
            raise Refusal("source_unreadable", "source: the folder cannot be read")

    def check_target(self) -> None:
        """Raises Refusal when this is no folder that can be written, nor can be made one. Nothing
        is made yet: a dry run asks too."""
        nearest = self.path
        while not os.path.lexists(nearest):
            nearest = os.path.dirname(nearest)
        there = nearest == self.path
        if not os.path.isdir(nearest):
            what = "it" if there else "what it lies in"
            raise Refusal("destination_not_a_folder", f"destination: {what} is not a folder")
        # A folder that is there is listed as well.
        if not os.access(nearest, os.W_OK | os.X_OK | (os.R_OK if there else 0)):
            raise _not_writable("read and written" if there else "created")

    @contextmanager
    def folder(self, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """The descriptor of a folder below the root. Raises Unsyncable where a link or a file
        stands in its place, Refusal where the root itself is to be made and cannot be."""
        if create:
            self._make()
        inner = os.open(self.path, FOLDER)
        try:
            for part in parts:
                outer, inner = inner, _enter(inner, part, create)
                os.close(outer)
            yield inner
        finally:
            os.close(inner)

    def open(self, path: str) -> BufferedReader:
        """A regular file, for reading."""
        *parts, name = path.split("/")
        with self.folder(parts) as folder:
            try:
                file = os.fdopen(os.open(name, READ, dir_fd=folder), "rb")
            except OSError as error:
                raise _in_the_way(error) from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise Unsyncable("it is not a regular file")
        return file

    def remove(self, path: str) -> None:
        """Delete a file; that it is gone already is no error."""
        *parts, name = path.split("/")
        with suppress(FileNotFoundError), self.folder(parts) as folder:
            os.unlink(name, dir_fd=folder)

    def _make(self) -> None:
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            # No other file would fare better.
            raise _not_writable("created") from error


class Landing:
    """A file on its way in: under a temporary name beside its place until it is whole."""

    def __init__(self, root: Root, path: str, temporary: str) -> None:
        *parts, self._name = path.split("/")
        self._temporary = temporary
        self._digest = hashlib.sha256()
        self.size = 0
        with root.folder(parts, create=True) as folder:
            self._file = os.fdopen(os.open(temporary, CREATE, 0o666, dir_fd=folder), "wb")
            self._folder = os.dup(folder)
        self._landed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._landed:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._folder)
        os.close(self._folder)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def land(self) -> None:
        """Take the place, whole and on the disk, or not at all."""
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            raise _in_the_way(error) from error
        self._landed = True
        os.fsync(self._folder)


def _not_writable(how: str) -> Refusal:
    return Refusal("destination_not_writable", f"destination: the folder cannot be {how}")


def _enter(outer: int, name: str, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=outer)
    try:
        return os.open(name, FOLDER, dir_fd=outer)
    except OSError as error:
        raise _in_the_way(error) from error


def _in_the_way(error: OSError) -> Exception:
    """What the system says of a link, a file or a folder where something else is needed."""
    if isinstance(error, NotADirectoryError | IsADirectoryError) or error.errno == errno.ELOOP:
        return Unsyncable("a link, a file or a folder stands in its way")
    return error
