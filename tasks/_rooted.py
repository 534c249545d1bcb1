"""Files below one folder, opened so that no link leads out of it, also when one is put in the
way meanwhile: each part of a path is opened from the folder before it, never by its name alone."""

from __future__ import annotations

import errno
import os
import stat
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO

from adapters._storage import target_changed
from tasks._base import Refusal
from tasks._ends import Unsyncable

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Of what lies above the root nothing but the way through need be allowed. Elsewhere than on Linux
# it has to be readable.
PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe put in a file's place must not hang its reader.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# As many as Linux follows in one path.
MOST_LINKS = 40


class Root:
    """A folder. `path` itself may be reached through links; nothing below it may. It is found once:
    a folder that takes its name later is another one."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self._names = (os.path.abspath(path), self.path)
        self._opening = threading.Lock()
        self._top: int | None = None

    def check_source(self) -> None:
        """Raises Refusal when this is no folder that can be read here."""
        if not os.path.lexists(self.path):
            raise Refusal("source_missing", "source: there is no such folder on this machine")
        if not os.path.isdir(self.path):
            raise Refusal("source_not_a_folder", "source: it is not a folder")
        if not os.access(self.path, os.R_OK | os.X_OK) or not self._is_open():
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

    def overlaps(self, other: Root) -> bool:
        """Whether one of the two lies within the other, whatever links led to them."""
        return os.path.commonpath((self.path, other.path)) in (self.path, other.path)

    @contextmanager
    def folder(self, parts: Sequence[str] = (), *, create: bool = False) -> Iterator[int]:
        """The descriptor of a folder below the root. Raises Unsyncable where a link or a file
        stands in its place, Refusal where the root itself is to be made and cannot be."""
        # Not a copy of the descriptor: two that read the folder would share their place in it.
        inner = os.open(".", FOLDER, dir_fd=self._opened(create))
        try:
            for part in parts:
                inner = _enter(inner, part, FOLDER, create)
            yield inner
        finally:
            os.close(inner)

    def open(self, path: str) -> FileIO:
        """A regular file, for reading; unbuffered, since it is read in large pieces."""
        parts, name = split(path)
        with self.folder(parts) as folder:
            try:
                file = os.open(name, READ, dir_fd=folder)
            except OSError as error:
                raise in_the_way(error) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise Unsyncable("it is not a regular file")
        return FileIO(file)

    def stat(self, path: str) -> os.stat_result | None:
        """What stands there, a link as such; None: nothing."""
        parts, name = split(path)
        with suppress(FileNotFoundError), self.folder(parts) as folder:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        return None

    def behind(self, path: str) -> str | None:
        """The path of the file that a link leads to, if it lies below the root; no link is left in
        it. Raises OSError as following it would."""
        left, done, links = path.split("/"), list[str](), 0
        while left:
            part = left.pop(0)
            if part == ".." and not done:
                return None
            if part in ("", ".", ".."):
                done = done[:-1] if part == ".." else done
            elif (target := self._link(done, part)) is None:
                done.append(part)
            elif (links := links + 1) > MOST_LINKS or (beneath := self._beneath(target)) is None:
                return None
            else:
                done = [] if target.startswith("/") else done
                left = beneath.split("/") + left
        found = self.stat("/".join(done)) if done else None
        return "/".join(done) if found and stat.S_ISREG(found.st_mode) else None

    def remove(self, path: str, version: str | None) -> None:
        """Delete a file; that it is gone already is no error. Raises Changed where it is not that
        version."""
        parts, name = split(path)
        with suppress(FileNotFoundError), self.folder(parts) as folder:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if version_of(found) != version:
                raise target_changed()
            os.unlink(name, dir_fd=folder)

    def _is_open(self) -> bool:
        with suppress(OSError, Unsyncable):
            return self._opened(create=False) >= 0
        return False

    def _opened(self, create: bool) -> int:
        with self._opening:
            if self._top is None:
                self._top = self._found(create)
                weakref.finalize(self, os.close, self._top)
            return self._top

    def _found(self, create: bool) -> int:
        try:
            return _open_all(self.path.split("/"), create)
        except (OSError, Unsyncable) as error:
            # No file below it would fare better.
            if create:
                raise _not_writable("created") from error
            raise

    def _link(self, parts: Sequence[str], name: str) -> str | None:
        """Where a link leads; None: it is none."""
        with self.folder(parts) as folder:
            try:
                return os.readlink(name, dir_fd=folder)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return None
                raise

    def _beneath(self, target: str) -> str | None:
        """A link's target, as seen from the root where it is absolute; None: it is outside."""
        if not target.startswith("/"):
            return target
        within = (target.removeprefix(name) for name in self._names if f"{target}/" > f"{name}/")
        return next((rest for rest in within if rest.startswith("/")), None)


def split(path: str) -> tuple[list[str], str]:
    """The folders of a path and the name in the last of them. Keys that lead elsewhere are refused
    before they come here; nothing depends on that. Raises Unsyncable."""
    *parts, name = path.split("/")
    if "\0" in path or not {"", ".", ".."}.isdisjoint((*parts, name)):
        raise Unsyncable("a part of the path is empty, or leads elsewhere")
    return parts, name


def version_of(status: os.stat_result) -> str:
    """What exactly this content of that file is called. A change of the file changes ctime, which
    nobody can set."""
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def in_the_way(error: OSError) -> Exception:
    """What the system says of a link, a file or a folder where something else is needed."""
    if isinstance(error, NotADirectoryError | IsADirectoryError) or error.errno == errno.ELOOP:
        return Unsyncable("a link, a file or a folder stands in its way")
    return error


def _open_all(parts: Sequence[str], create: bool) -> int:
    """A folder by its parts from `/` on, none of which may be a link."""
    inner = os.open("/", PASSAGE)
    try:
        for part in filter(None, parts):
            inner = _enter(inner, part, PASSAGE, create)
        return os.open(".", FOLDER, dir_fd=inner)
    finally:
        os.close(inner)


def _enter(outer: int, name: str, how: int, create: bool) -> int:
    """The folder of that name in another, which is closed unless this raises."""
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=outer)
            _keep(outer)
    try:
        inner = os.open(name, how, dir_fd=outer)
    except OSError as error:
        raise in_the_way(error) from error
    os.close(outer)
    return inner


def _keep(folder: int) -> None:
    """What was made in it outlives a loss of power; above the root only as the system likes."""
    with suppress(OSError):
        os.fsync(folder)


def _not_writable(how: str) -> Refusal:
    return Refusal("destination_not_writable", f"destination: the folder cannot be {how}")
