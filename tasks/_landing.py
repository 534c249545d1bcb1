"""A file on its way into a folder: nobody sees it before it is whole and on the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from contextlib import suppress
from io import BufferedWriter

from adapters._storage import target_changed
from tasks._ends import Unsyncable
from tasks._rooted import Root, in_the_way, split, version_of
from tasks._temporary import Temporary

CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A file without a name: a kill leaves nothing of it.
NAMELESS = getattr(os, "O_TMPFILE", 0) | os.O_RDWR | os.O_CLOEXEC
DESCRIPTORS = "/proc/self/fd"
NO_NAMELESS = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
# What file systems without a second name for a file say: FAT, some shares.
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.ENOENT}
COPY_BYTES = 1024 * 1024


class Landing:
    """One file. Each step may be in a thread of its own; one waits for the other."""

    def __init__(self, root: Root, path: str, temporary: Temporary) -> None:
        self._parts, self._name = split(path)
        self._root = root
        self._names = temporary
        self._digest = hashlib.sha256()
        self._busy = threading.Lock()
        self._folder: int | None = None
        self._file: BufferedWriter | None = None
        self._temporary: str | None = None
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def open(self) -> None:
        """Make the folders and the file. Raises Unsyncable, Refusal and OSError."""
        if self._names.is_one(self._name):
            raise Unsyncable("the name is one of those that ferryman gives to unfinished files")
        with self._busy, self._root.folder(self._parts, create=True) as folder:
            self._folder = os.dup(folder)
            self._file = os.fdopen(self._create(folder), "wb")

    def write(self, data: bytes) -> None:
        with self._busy:
            file, _ = self._held()
            file.write(data)
            self._digest.update(data)
            self.size += len(data)

    def land(self, version: str | None) -> str:
        """Take the place, whole and on the disk, or not at all. `version`: what stands there, None:
        nothing; raises Changed where that is not so. Returns the new version."""
        with self._busy:
            file, folder = self._held()
            file.flush()
            os.fsync(file.fileno())
            try:
                self._appear(folder) if version is None else self._replace(folder, version)
            except OSError as error:
                raise in_the_way(error) from error
            os.fsync(folder)
            self._drop_name(folder)
            return version_of(os.fstat(self._held()[0].fileno()))

    def close(self) -> None:
        """Nothing stays of a file that has not landed."""
        with self._busy:
            file, folder = self._file, self._folder
            self._file = self._folder = None
            if file is not None:
                with suppress(OSError):
                    file.close()
            if folder is not None:
                self._drop_name(folder)
                os.close(folder)

    def _held(self) -> tuple[BufferedWriter, int]:
        if self._file is None or self._folder is None:
            raise RuntimeError("the landing is not open")
        return self._file, self._folder

    def _create(self, folder: int) -> int:
        if hasattr(os, "O_TMPFILE") and os.path.isdir(DESCRIPTORS):
            try:
                return os.open(".", NAMELESS, 0o666, dir_fd=folder)
            except OSError as error:
                if error.errno not in NO_NAMELESS:
                    raise
        self._names.clear(folder)
        name = self._names.own()
        file = os.open(name, CREATE, 0o666, dir_fd=folder)
        self._temporary = name
        return file

    def _appear(self, folder: int) -> None:
        """Where nothing stands: a second name cannot take the place of another file."""
        try:
            self._link(folder, self._name)
        except FileExistsError:
            raise self._taken(folder) from None
        except OSError as error:
            if self._temporary is None or error.errno not in NO_LINKS:
                raise
            # Price: what another program puts there in this very moment is overwritten.
            if _stat(folder, self._name) is not None:
                raise self._taken(folder) from None
            self._rename(folder, self._temporary)

    def _replace(self, folder: int, version: str) -> None:
        """Price: between the look and the rename another program has some microseconds."""
        name = self._temporary or self._give_name(folder)
        found = _stat(folder, self._name)
        if found is None or version_of(found) != version:
            raise self._taken(folder)
        self._rename(folder, name)

    def _rename(self, folder: int, name: str) -> None:
        os.rename(name, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        self._temporary = None

    def _give_name(self, folder: int) -> str:
        name = self._names.of(self._name)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        try:
            self._link(folder, name)
        except OSError as error:
            if self._temporary is None or error.errno not in NO_LINKS:
                raise
            return self._temporary
        self._drop_name(folder)
        self._temporary = name
        return name

    def _link(self, folder: int, name: str) -> None:
        file, _ = self._held()
        if self._temporary is None:
            try:
                os.link(f"{DESCRIPTORS}/{file.fileno()}", name, dst_dir_fd=folder)
                return
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
            self._copy(folder, file.fileno())
        assert self._temporary is not None
        ends = {"src_dir_fd": folder, "dst_dir_fd": folder}
        os.link(self._temporary, name, **ends, follow_symlinks=False)

    def _copy(self, folder: int, nameless: int) -> None:
        """Some systems make a file without a name, and cannot give it one afterwards."""
        name = self._names.own()
        file = os.fdopen(os.open(name, CREATE, 0o666, dir_fd=folder), "wb")
        before, self._file, self._temporary = self._file, file, name
        for place in range(0, self.size, COPY_BYTES):
            file.write(os.pread(nameless, COPY_BYTES, place))
        file.flush()
        os.fsync(file.fileno())
        if before is not None:
            before.close()

    def _taken(self, folder: int) -> Exception:
        """Why the place cannot be taken."""
        found = _stat(folder, self._name)
        if found is None or stat.S_ISREG(found.st_mode):
            return target_changed()
        return Unsyncable("a link, a file or a folder stands in its way")

    def _drop_name(self, folder: int) -> None:
        if self._temporary is not None:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=folder)
            self._temporary = None


def _stat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
