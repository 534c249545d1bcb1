"""A folder as an end of a sync: what lies outside its root is neither read nor written, whatever a
key or a link says, and whenever it is put there."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from adapters._base import Unavailable, VendorError
from adapters._storage import PART_BYTES, SHA256, Changed, Expect
from tasks import _folder, _landing, _listing, _rooted, _temporary
from tasks._base import Refusal
from tasks._ends import Entry, Unsyncable
from tasks._folder import Folder
from tasks._keys import refusal
from tasks._rooted import Root
from tests.tasks.trees import plant, tree

NOTHING_THERE = Expect()
SECRET, PUBLIC = b"the canary's song", b"public"
CANARIES, NEVER_READ = ("canary", "beside/file", "beside/folder/file"), 86400
Snapshot = dict[str, tuple[Any, ...]]


def snapshot(place: Path) -> Snapshot:
    """All that is there, links as such, by name: kinds and contents."""
    found: Snapshot = {}
    for path in sorted(place.rglob("*")):
        is_link, mode = path.is_symlink(), path.lstat().st_mode
        content = path.read_bytes() if path.is_file() and not is_link else None
        names = sorted(os.listdir(path)) if path.is_dir() and not is_link else None
        found[str(path.relative_to(place))] = (mode, content, names)
    return found


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    """A canary above the root, and one beside it whose folder has the names of the root's own."""
    return plant(tmp_path, dict.fromkeys(CANARIES, SECRET))


@pytest.fixture
def root(outer: Path) -> Path:
    return plant(outer / "root", {"folder/file": PUBLIC, "other": b"o"})


@pytest.fixture(autouse=True)
def unharmed(outer: Path) -> Iterator[None]:
    """Of every test here: nothing outside the root was changed, nor read."""
    for name in CANARIES:
        os.utime(outer / name, (NEVER_READ, (outer / name).stat().st_mtime))
    yield
    assert {(outer / name).stat().st_atime for name in CANARIES} == {NEVER_READ}
    assert tree(outer / "beside") == {"file": SECRET, "folder/file": SECRET}
    assert (outer / "canary").read_bytes() == SECRET
    assert set(os.listdir(outer)) <= {"canary", "beside", "root", "moved"}


def source(root: Path) -> Folder:
    return Folder(str(root), uuid7(), target=False)


def target(root: Path) -> Folder:
    return Folder(str(root), uuid7(), target=True)


async def listed(folder: Folder, after: str = "") -> list[Entry]:
    return [entry async for batch in folder.entries(after) for entry in batch]


async def problems(folder: Folder) -> dict[str, str]:
    return {entry.key: entry.problem for entry in await listed(folder) if entry.problem}


async def entry_of(folder: Folder, key: str) -> Entry:
    (found,) = [entry for entry in await listed(folder) if entry.key == key]
    return found


# --- keys

ESCAPES = [
    "..",
    "../canary",
    "../beside/file",
    "folder/../../canary",
    "folder/../../beside/new",
    "./../canary",
    "/etc/ferryman-canary",
    "//canary",
    "folder//../../canary",
    "folder/..",
    ".",
    "folder/",
    "nul\0byte",
    "folder/nul\0/x",
]
ODD = ["back\\slash", "..\\canary", "C:\\canary", "tab\there", "line\nbreak", "del\x7f", "a" * 1025]
NAMES_LIKE_ANY_OTHER = ["...", "..a/b", "a..", "~", "~root/x", "%2e%2e/canary", "-rf", "$HOME", "ü"]


@pytest.mark.parametrize("key", ESCAPES)
async def test_a_key_that_leads_out_is_refused_twice(root: Path, outer: Path, key: str) -> None:
    """By its name, and once more where files are opened, should the name be let through."""
    before = snapshot(root)
    assert refusal(key)
    there, entry = target(root), Entry(key, 1, version="1:1:1:1")
    for attempt in (
        there.write(key, b"x", {}, NOTHING_THERE),
        there.read(entry),
        there.digest(entry, "sha256"),
        there.look(entry),
        _land(there, key),
    ):
        with pytest.raises(Unsyncable):
            await attempt
    assert isinstance((await there.delete([entry]))[key], Unsyncable)
    assert snapshot(root) == before


async def _land(folder: Folder, key: str, size: int = 1, digest: str | None = None) -> None:
    async with folder.landing(key, NOTHING_THERE) as incoming:
        await incoming.write(b"x")
        await incoming.land(size, digest)


@pytest.mark.parametrize("key", ODD)
def test_a_key_that_the_other_end_could_not_give_back_is_refused(key: str) -> None:
    assert refusal(key)


@pytest.mark.parametrize("key", NAMES_LIKE_ANY_OTHER)
async def test_a_key_that_only_looks_bad_is_a_name_like_any_other(root: Path, key: str) -> None:
    assert refusal(key) is None
    await target(root).write(key, b"x", {}, NOTHING_THERE)
    assert tree(root)[key] == b"x"
    assert key in [entry.key for entry in await listed(source(root))]


async def test_a_name_that_ferryman_gives_to_unfinished_files_is_none_for_objects(
    root: Path,
) -> None:
    key = f"folder/.{uuid7().hex}.{'0' * 12}-0.ferryman"
    with pytest.raises(Unsyncable):
        await target(root).write(key, b"x", {}, NOTHING_THERE)


# --- links at the source

OUT = {
    "to a file beside": "../beside/file",
    "to one above": "../canary",
    "to a folder beside": "../beside",
    "the root's own folder": "..",
    "by a way through a folder": "folder/../../canary",
    "to itself": "link",
    "to nothing": "nowhere",
    "to nothing beside": "../beside/nothing",
    "to a place above that is named as one within": "../folder/file",
    "to a folder within": "folder",
    "to the root": ".",
    "through a file": "other/x",
    "to this program's own": "/proc/self/environ",
    "to an address of the system": "/etc/hostname",
    "over a link to a folder beside": "away/file",
    "over two links": "chain",
}


@pytest.mark.parametrize("leads", OUT.values(), ids=OUT.keys())
async def test_a_link_out_of_the_source_is_told_and_not_followed(root: Path, leads: str) -> None:
    (root / "away").symlink_to("../beside")
    (root / "chain").symlink_to("away/folder/file")
    (root / "link").symlink_to(leads)

    found = await entry_of(source(root), "link")

    assert (found.problem, found.size) == ("a link that is not followed", 0)
    for attempt in (source(root).read(found), source(root).digest(found, "md5")):
        with pytest.raises(Unsyncable):
            await attempt


@pytest.mark.parametrize(
    "leads", ["folder/file", "./folder/../folder/./file", "second", "{root}/folder/file", "in/file"]
)
async def test_a_link_within_the_source_is_the_file(root: Path, leads: str) -> None:
    (root / "second").symlink_to("in/file")
    (root / "in").symlink_to("folder")
    (root / "link").symlink_to(leads.format(root=root))

    found = await entry_of(source(root), "link")

    assert (found.problem, found.path, found.size) == (None, "folder/file", len(PUBLIC))
    assert (await source(root).read(found)).data == PUBLIC


async def test_an_endless_chain_of_links_ends(root: Path) -> None:
    for number in range(50):
        (root / f"{number:02}").symlink_to(f"{number + 1:02}")
    (root / "50").symlink_to("folder/file")
    told = await problems(source(root))
    assert "00" in told
    assert "49" not in told


async def test_the_root_itself_may_be_a_link(root: Path, outer: Path) -> None:
    (outer / "moved").symlink_to("root")
    (root / "link").symlink_to(outer / "moved/folder/file")
    found = {entry.key: entry.path for entry in await listed(source(outer / "moved"))}
    assert found == {"folder/file": None, "other": None, "link": "folder/file"}


async def test_what_is_no_file_is_told(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    assert set(await problems(source(root))) == {"pipe", "socket"}
    # Nobody writes to it: a reader that waited would wait for ever.
    with pytest.raises(Unsyncable):
        await asyncio.wait_for(source(root).read(Entry("pipe")), 2)


# --- links and other things at the target


@pytest.mark.parametrize(
    ("thing", "key"),
    [
        ("../beside/file", "thing"),
        ("../beside/new", "thing"),
        ("folder/file", "thing"),
        ("nowhere", "thing"),
        ("../beside", "thing"),
        ("../beside", "thing/file"),
        ("../beside", "thing/new"),
        ("../beside", "thing/folder/new"),
        ("../beside", "thing/made/new"),
        ("folder", "thing/new"),
        ("a folder", "thing"),
        ("a file", "thing/new"),
        ("a pipe", "thing"),
    ],
)
@pytest.mark.parametrize("version", [None, "1:1:1:1"])
async def test_what_stands_in_the_way_at_the_target_stays(
    root: Path, thing: str, key: str, version: str | None
) -> None:
    way = root / "thing"
    made: dict[str, Callable[[], None]] = {
        "a folder": way.mkdir,
        "a file": way.touch,
        "a pipe": lambda: os.mkfifo(way),
    }
    made.get(thing, lambda: way.symlink_to(thing))()
    before = snapshot(root)

    with pytest.raises(Unsyncable):
        await target(root).write(key, b"new", {}, Expect(version=version))

    # A folder is made only where one is missing below no link.
    assert snapshot(root) == before
    failed = await target(root).delete([Entry(key, version=version)])
    assert key in failed or key not in snapshot(root)
    assert snapshot(root) == before


async def test_a_link_at_the_target_is_told_even_where_it_leads_within(root: Path) -> None:
    (root / "link").symlink_to("folder/file")
    assert await problems(target(root)) == {"link": "a link that is not followed"}
    found = await target(root).look(Entry("link"))
    assert found is not None
    assert found.problem


# --- links swapped in, before each single thing that is asked of the system

Act = Callable[[Path], Awaitable[Any]]


async def _walk(root: Path) -> list[Entry]:
    return await listed(source(root))


async def _walk_target(root: Path) -> list[Entry]:
    return await listed(target(root))


async def _follow(root: Path) -> list[Entry]:
    (root / "a-link").symlink_to("folder/file")
    return await listed(source(root))


async def _read(root: Path) -> bytes:
    return (await source(root).read(Entry("folder/file", len(PUBLIC)))).data


async def _span(root: Path) -> bytes:
    return (await source(root).read(Entry("folder/file", len(PUBLIC)), (0, len(PUBLIC)))).data


async def _digest(root: Path) -> str | None:
    return await source(root).digest(Entry("folder/file", len(PUBLIC)), "sha256")


async def _look(root: Path) -> Entry | None:
    return await source(root).look(Entry("folder/file"))


async def _write(root: Path) -> None:
    await target(root).write("folder/new", b"n", {}, NOTHING_THERE)


async def _make(root: Path) -> None:
    await target(root).write("folder/deeper/and/new", b"n", {}, NOTHING_THERE)


async def _replace(root: Path) -> None:
    there = target(root)
    found = await there.look(Entry("folder/file"))
    assert found is not None
    await there.write("folder/file", b"n", {}, found.expect)


async def _delete(root: Path) -> None:
    there = target(root)
    found = await there.look(Entry("folder/file"))
    assert found is not None
    await there.delete([found])


ACTS = [
    _walk,
    _walk_target,
    _follow,
    _read,
    _span,
    _digest,
    _look,
    _write,
    _make,
    _replace,
    _delete,
]
CALLS = ("open", "stat", "scandir", "mkdir", "link", "rename", "unlink", "readlink", "fstat")
SWAPS = {
    "folder": "beside",
    "folder/file": "beside/file",
    "folder/deeper": "beside",
    ".": "beside",
}


class Swapper:
    """Puts a link in the place of something right before one of the calls to the system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, swap: Callable[[], None]) -> None:
        self.calls = 0
        self.at = at
        self.swap = swap
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                # What the swap itself asks is not counted.
                self.at = -1
                before, self.calls = self.calls, -1000
                self.swap()
                self.calls = before
            return call(*args, **named)

        return counted


@pytest.mark.parametrize("swapped", SWAPS)
@pytest.mark.parametrize("act", ACTS)
async def test_a_link_swapped_in_at_any_moment_leads_nowhere(
    outer: Path, act: Act, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, calls = 0, 1
    while at <= calls:
        # Each time a tree of its own; the first time nothing is swapped, but counted.
        root = plant(outer / "root" / str(at), {"folder/file": PUBLIC, "other": b"o"})
        with monkeypatch.context() as patched:
            swapper = Swapper(patched, at, partial(_swap, outer, root, swapped))
            found = None
            with suppress(Unsyncable, Refusal, VendorError, OSError):
                found = await act(root)
        calls = swapper.calls if at == 0 else calls
        _check_found(found)
        assert sorted(os.listdir(outer / "beside")) == ["file", "folder"]
        at += 1
    assert calls > 3


def _swap(outer: Path, root: Path, what: str) -> None:
    way = (root / what) if what != "." else root
    if not os.path.lexists(way):
        return
    aside = outer / "moved"
    aside.mkdir(exist_ok=True)
    os.replace(way, aside / f"{root.name}-{what.replace('/', '-')}")
    way.symlink_to(outer / SWAPS[what])


def _check_found(found: Any) -> None:
    """What was read is the root's own."""
    match found:
        case bytes():
            assert found == PUBLIC
        case str():
            assert found == hashlib.sha256(PUBLIC).hexdigest()
        case Entry():
            assert found.size in (0, len(PUBLIC))
        case list():
            ours = {"folder/file", "folder/", "folder", "other", "a-link", "/"}
            assert {entry.key for entry in found} <= ours
            assert {entry.size for entry in found} <= {0, 1, len(PUBLIC)}


def test_files_are_opened_by_descriptors_alone() -> None:
    """Each call to the system that takes a name takes the folder it is in as well."""
    free = {"folder", "open", "fstat", "close", "fsync", "fdopen", "dup", "pread", "scandir"}
    for module in (_folder, _landing, _listing, _rooted, _temporary):
        parsed = ast.parse(Path(str(module.__file__)).read_text())
        for call in (node for node in ast.walk(parsed) if isinstance(node, ast.Call)):
            named = ast.unparse(call.func)
            given = {word.arg for word in call.keywords} | {ast.unparse(a) for a in call.args}
            if named in ("os.open", "os.stat", "os.unlink", "os.mkdir", "os.readlink"):
                assert {"dir_fd", "'/'"} & given, ast.unparse(call)
            elif named in ("os.link", "os.rename"):
                assert {"dst_dir_fd", None} & given, ast.unparse(call)
            elif named.startswith("os.") and not named.startswith(("os.path.", "os.fs")):
                assert named.removeprefix("os.") in free | {"access"}, ast.unparse(call)
            assert named not in ("open", "Path", "os.path.join", "os.walk"), ast.unparse(call)


# --- the listing


NAMES = st.text(st.sampled_from("ab-./0ü"), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@drawn(names=st.sets(NAMES, max_size=10))
async def test_a_listing_goes_on_after_any_key_in_the_order_of_a_bucket(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    root = tmp_path_factory.mktemp("walk")
    for name in names:
        path = root / name.strip("/.")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_bytes(b"x")
    keys = sorted(tree(root), key=str.encode)

    assert [entry.key for entry in await listed(source(root))] == keys
    for after in {*keys, *names, "a", "a/", "b/zz"}:
        beyond = [key for key in keys if key.encode() > after.encode()]
        assert [entry.key for entry in await listed(source(root), after)] == beyond


async def test_a_folder_is_not_entered_again_for_what_lies_before(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(root, {"folder2/x": b"", "folder3/x": b""})
    entered: list[tuple[str, ...]] = []
    before = Root.folder

    def noted(self: Root, parts: Any = (), **how: Any) -> Any:
        entered.append(tuple(parts))
        return before(self, parts, **how)

    monkeypatch.setattr(Root, "folder", noted)
    assert [one.key for one in await listed(source(root), "folder2/x")] == ["folder3/x", "other"]
    assert ("folder",) not in entered


async def test_what_cannot_be_listed_is_told_in_its_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be read must not look like an empty one: its objects would be deleted at
    the other end."""
    plant(root, {"folder.txt": b"t"})
    before: Callable[..., Any] = os.scandir
    inode = (root / "folder").stat().st_ino

    def scandir(folder: int) -> Any:
        if os.fstat(folder).st_ino == inode:
            raise OSError(5, "Input/output error")
        return before(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found = await listed(source(root))
    assert [entry.key for entry in found] == ["folder.txt", "folder/", "other"]
    assert found[1].problem == "the folder cannot be read"
    assert [entry.key for entry in await listed(source(root), "folder/")] == ["other"]


async def test_a_source_that_vanishes_before_it_is_listed_is_not_empty(root: Path) -> None:
    there = source(root)
    await there.check()
    plant(root.parent, {"moved/x": b""})
    os.replace(root, root.parent / "moved/root")
    assert {entry.key for entry in await listed(there)} == {"folder/file", "other"}
    with pytest.raises(Refusal):
        await source(root).check()


async def test_a_deep_tree_takes_few_descriptors_and_ends(root: Path) -> None:
    there = os.open(root, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=there)
        inner = os.open("d", os.O_RDONLY, dir_fd=there)
        os.close(there)
        there = inner
    os.close(there)
    before, most = len(os.listdir("/proc/self/fd")), 0
    found: list[Entry] = []
    async for batch in source(root).entries():
        found += batch
        most = max(most, len(os.listdir("/proc/self/fd")))
    (deep,) = [entry for entry in found if entry.problem]
    assert deep.problem == "the key is longer than 1024 bytes"
    assert len(deep.key) == 1026
    assert most - before < 10
    _remove_deep(root)


def _remove_deep(root: Path) -> None:
    """pytest's own removal would run out of stack."""
    import subprocess

    subprocess.run(["rm", "-rf", str(root / "d")], check=True)


async def test_names_that_are_not_utf8_are_listed(root: Path) -> None:
    plant(root, {os.fsdecode(b"caf\xe9"): b"x"})
    keys = [entry.key for entry in await listed(source(root))]
    assert keys == [os.fsdecode(b"caf\xe9"), "folder/file", "other"]
    assert refusal(keys[0])


@pytest.mark.parametrize("mtime", [10**15, -(10**15)])
def test_a_time_beyond_all_calendars_keeps_no_file_from_being_listed(mtime: int) -> None:
    """tmpfs, XFS and others keep any; ext4 does not."""
    status = os.stat_result((0o100644, 1, 1, 1, 0, 0, 3, 0, mtime, 0))
    found = _listing._file("a", status)
    assert (found.size, found.last_modified, found.problem) == (3, None, None)


def test_a_name_that_looks_like_an_address_names_no_type() -> None:
    assert _folder._attributes("data:t\xebxt/x,y") == {}
    assert _folder._attributes("data:a.txt") == {"Content-Type": "text/plain"}


async def test_unfinished_files_are_no_content_and_old_ones_go(root: Path) -> None:
    ours, other = uuid7(), uuid7()
    left = {job: f"folder/.{job.hex}.{'0' * 12}-3.ferryman" for job in (ours, other)}
    old = f".{other.hex}.{'1' * 12}-4.ferryman"
    plant(root, {**dict.fromkeys(left.values(), b"half"), old: b"old"})
    os.utime(root / old, (1, 1))

    assert {entry.key for entry in await listed(source(root))} == {"folder/file", "other"}
    assert set(tree(root)) == {"folder/file", "other", old, *left.values()}
    there = Folder(str(root), ours, target=True)
    assert {entry.key for entry in await listed(there)} == {"folder/file", "other"}
    assert set(tree(root)) == {"folder/file", "other", left[other]}


async def test_an_old_one_that_cannot_be_removed_hides_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = f"folder/.{uuid7().hex}.{'1' * 12}-4.ferryman"
    plant(root, {old: b"old"})
    os.utime(root / old, (1, 1))

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "unlink", forbidden)
    found = await listed(target(root))
    assert [(entry.key, entry.problem) for entry in found] == [
        ("folder/file", None),
        ("other", None),
    ]


# --- reading


async def test_a_whole_file_comes_with_what_it_is(root: Path) -> None:
    plant(root, {"page.html": b"<p>"})
    piece = await source(root).read(Entry("page.html", 3))
    assert piece.data == b"<p>"
    digest = hashlib.sha256(b"<p>").hexdigest()
    assert piece.attributes == {"Content-Type": "text/html", SHA256: digest}
    assert await source(root).attributes(Entry("page.html")) == {"Content-Type": "text/html"}
    assert await source(root).digest(Entry("page.html"), "md5") == hashlib.md5(b"<p>").hexdigest()


@pytest.mark.parametrize("part_bytes", [1, 1000, 1024**2 + 7, 2 * 1024**2, 9 * 1024**2])
async def test_the_whole_and_each_part_are_summed_in_one_pass(root: Path, part_bytes: int) -> None:
    data = os.urandom(3000 if part_bytes < 2000 else 3 * 1024**2 + 5)
    plant(root, {"large": data})
    sums = await source(root).sums(await entry_of(source(root), "large"), part_bytes)

    parts = [data[at : at + part_bytes] for at in range(0, len(data), part_bytes)]
    assert sums.whole == hashlib.sha256(data).hexdigest()
    assert sums.parts == [hashlib.sha256(part).hexdigest() for part in parts]
    assert sums.part_bytes == part_bytes


@pytest.mark.parametrize(
    ("data", "told"),
    [(PUBLIC[::-1], True), (PUBLIC[1:], True), (PUBLIC[1:], False), (PUBLIC + b"+", False)],
)
async def test_sums_are_of_the_listed_file_or_none(root: Path, data: bytes, told: bool) -> None:
    """By its size where the listing told no version."""
    found = await entry_of(source(root), "folder/file")
    (root / "folder/file").write_bytes(data)
    found = found if told else replace(found, version=None)
    with pytest.raises(Unavailable) as raised:
        await source(root).sums(found, 4)
    assert raised.value.code == "source_changed"


@pytest.mark.parametrize("change", ["grown", "other", "replaced", "gone", "time set back"])
async def test_a_span_is_of_the_listed_file_or_none(root: Path, change: str) -> None:
    path = root / "folder/file"
    found = await entry_of(source(root), "folder/file")
    assert (await source(root).read(found, (2, 4))).data == PUBLIC[2:4]
    times = path.stat()
    if change == "grown":
        path.write_bytes(PUBLIC + b"+")
    elif change == "gone":
        path.unlink()
    elif change == "replaced":
        (root / "new").write_bytes(PUBLIC)
        (root / "new").replace(path)
    else:
        path.write_bytes(PUBLIC[::-1])
    if change == "time set back":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(Unavailable) as raised:
        await source(root).read(found, (2, 4))
    assert raised.value.code == "source_changed"


async def test_a_span_is_whole_or_none(root: Path) -> None:
    found = await entry_of(source(root), "folder/file")
    with pytest.raises(Unavailable):
        await source(root).read(found, (2, len(PUBLIC) + 1))


async def test_a_file_larger_than_a_part_is_never_read_at_once(root: Path) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(PART_BYTES + 1)
    with pytest.raises(Unavailable):
        await source(root).read(Entry("large", 1))


@pytest.mark.parametrize("how", ["read", "digest", "sums"])
async def test_a_file_that_changes_while_it_is_read_is_not_taken(
    root: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    before: Callable[..., Any] = Root.open

    def open_(self: Root, path: str) -> Any:
        file = before(self, path)
        version = _rooted.version_of(os.fstat(file.fileno()))
        monkeypatch.setattr(_folder, "_version", _then(version, root / path))
        return file

    monkeypatch.setattr(Root, "open", open_)
    there, other = source(root), Entry("other", (root / "other").stat().st_size)
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: there.read(other),
        "digest": lambda: there.digest(other, "md5"),
        "sums": lambda: there.sums(other, 4),
    }
    with pytest.raises(Unavailable) as raised:
        await ways[how]()
    assert raised.value.code == "source_changed"


def _then(version: str, path: Path) -> Callable[[Any], str]:
    """After the first look at it, something is added to the file."""
    seen: list[str] = []

    def look(file: Any) -> str:
        seen.append(_rooted.version_of(os.fstat(file.fileno())))
        if len(seen) == 1:
            with path.open("ab") as end:
                end.write(b"+")
        return seen[-1]

    return look


async def test_where_the_disk_is_slow_files_are_read_side_by_side(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: Callable[..., Any] = Root.open
    both = threading.Barrier(2, timeout=5)

    def slow(self: Root, path: str) -> Any:
        both.wait()
        return before(self, path)

    there = source(root)
    moments = iter(range(100))
    with monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", lambda: float(next(moments)))
        await asyncio.gather(*(there.read(Entry("other", 1)) for _ in range(3)))
    monkeypatch.setattr(Root, "open", slow)
    pieces = await asyncio.gather(*(there.read(Entry("other", 1)) for _ in range(2)))
    assert [piece.data for piece in pieces] == [b"o", b"o"]


# --- writing

WAYS = ("without a name", "with a name", "without links", "a name only at once")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the file system can do."""
    if request.param in WAYS[1:3]:
        monkeypatch.delattr(os, "O_TMPFILE")
    if request.param in WAYS[2:]:

        def link(*_: Any, **__: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    return str(request.param)


async def test_a_file_lands_whole_and_is_known_by_its_version(root: Path, way: str) -> None:
    there = target(root)
    placed = await there.write("new/deep/file", b"abc", {}, NOTHING_THERE)
    assert tree(root)["new/deep/file"] == b"abc"
    assert placed.digests == {"sha256": hashlib.sha256(b"abc").hexdigest()}
    found = await there.look(Entry("new/deep/file"))
    assert found is not None
    assert (placed.etag, placed.version) == (None, found.version)

    again = await there.write("new/deep/file", b"abcd", {}, found.expect)
    assert tree(root)["new/deep/file"] == b"abcd"
    assert again.version != placed.version
    assert set(tree(root)) == {"folder/file", "other", "new/deep/file"}


@pytest.mark.parametrize("change", ["none expected", "other content", "touched", "gone", "folder"])
async def test_what_others_put_there_meanwhile_stays(root: Path, way: str, change: str) -> None:
    there, path = target(root), root / "folder/file"
    found = await there.look(Entry("folder/file"))
    assert found is not None
    expect = found.expect
    if change == "none expected":
        expect = NOTHING_THERE
    elif change == "other content":
        path.write_bytes(b"theirs")
    elif change == "touched":
        os.utime(path, (1, 1))
    else:
        path.unlink()
    if change == "folder":
        path.mkdir()
    before = snapshot(root)

    with pytest.raises(Unsyncable if change == "folder" else Changed):
        await there.write("folder/file", b"ours", {}, expect)
    assert snapshot(root) == before


async def test_of_two_that_make_a_file_one_does(root: Path) -> None:
    made = [target(root).write("new", bytes([65 + n]) * 9, {}, NOTHING_THERE) for n in range(8)]
    done = await asyncio.gather(*made, return_exceptions=True)
    assert [type(one) for one in done].count(Changed) == 7
    assert len(set(tree(root)["new"])) == 1
    assert set(tree(root)) == {"folder/file", "other", "new"}


async def test_content_that_is_not_the_announced_one_does_not_land(root: Path, way: str) -> None:
    there, wrong = target(root), {SHA256: "ab" * 32}
    with pytest.raises(Unavailable) as raised:
        await there.write("new", b"x", wrong, NOTHING_THERE)
    assert raised.value.code == "checksum_mismatch"
    for size, digest in ((2, None), (1, "ab" * 32)):
        with pytest.raises(Unavailable):
            await _land(there, "new", size, digest)
    assert set(tree(root)) == {"folder/file", "other"}


async def test_a_large_file_comes_in_pieces(root: Path, way: str) -> None:
    data = [os.urandom(100_000) for _ in range(3)]
    digest = hashlib.sha256(b"".join(data)).hexdigest()
    async with target(root).landing("new/large", NOTHING_THERE) as incoming:
        for piece in data:
            await incoming.write(piece)
        assert "new/large" not in tree(root)
        placed = await incoming.land(300_000, digest)
    assert placed.digests["sha256"] == digest
    assert tree(root)["new/large"] == b"".join(data)


async def test_nothing_stays_of_a_landing_that_is_cancelled(root: Path, way: str) -> None:
    begun = asyncio.Event()

    async def land() -> None:
        async with target(root).landing("new", NOTHING_THERE) as incoming:
            await incoming.write(b"half")
            begun.set()
            await asyncio.Event().wait()

    descriptors = len(os.listdir("/proc/self/fd"))
    landing = asyncio.create_task(land())
    await begun.wait()
    landing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await landing
    assert set(tree(root)) == {"folder/file", "other"}
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1


async def test_a_kill_leaves_nothing_where_files_need_no_name(root: Path) -> None:
    there = target(root)
    async with there.landing("new", NOTHING_THERE) as incoming:
        await incoming.write(b"half")
        assert set(tree(root)) == {"folder/file", "other"}


async def test_elsewhere_the_next_run_of_the_job_clears_what_it_left(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    job, other = uuid7(), uuid7()
    left = [f"folder/.{one.hex}.{'0' * 12}-3.ferryman" for one in (job, other)]
    plant(root, dict.fromkeys(left, b"half"))
    there = Folder(str(root), job, target=True)
    await there.write("folder/new", b"x", {}, NOTHING_THERE)
    assert set(tree(root)) == {"folder/file", "folder/new", "other", left[1]}


async def test_a_run_that_died_between_name_and_place_is_repeated(root: Path) -> None:
    """What it left beside the place is taken away by the next one, which does it again."""
    job = uuid7()
    left = f"folder/{_temporary.Temporary(job).of('file')}"
    plant(root, {left: b"whole"})
    there = Folder(str(root), job, target=True)
    found = await there.look(Entry("folder/file"))
    assert found is not None
    await there.write("folder/file", b"new", {}, found.expect)
    assert tree(root) == {"folder/file": b"new", "other": b"o"}


async def test_a_full_disk_is_told_and_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        await target(root).write("folder/new", b"x", {}, NOTHING_THERE)
    assert set(tree(root)) == {"folder/file", "other"}


async def test_a_root_that_cannot_be_made_is_told(outer: Path) -> None:
    with pytest.raises(Refusal) as raised:
        await target(Path("/sys/ferryman/target")).write("new", b"x", {}, NOTHING_THERE)
    assert raised.value.code == "destination_not_writable"


async def test_a_link_put_above_a_root_that_is_yet_to_be_made_is_not_followed(
    outer: Path,
) -> None:
    (outer / "root").mkdir()
    there = target(outer / "root" / "above" / "new")
    (outer / "root" / "above").symlink_to(outer / "beside")
    with pytest.raises(Refusal):
        await there.write("file", b"x", {}, NOTHING_THERE)


# --- deleting


async def test_only_what_was_listed_is_deleted(root: Path) -> None:
    plant(root, dict.fromkeys(("changed", "gone", "linked", "folded"), b"x"))
    there = target(root)
    doomed = [entry for entry in await listed(there) if "/" not in entry.key]
    (root / "changed").write_bytes(b"y")
    for name in ("gone", "linked", "folded"):
        (root / name).unlink()
    (root / "linked").symlink_to("folder/file")
    (root / "folded").mkdir()

    failed = await there.delete(doomed)

    assert {key: type(error) for key, error in failed.items()} == dict.fromkeys(
        ("changed", "linked", "folded"), Changed
    )
    assert set(tree(root)) == {"changed", "linked", "folder/file"}
    assert (root / "folded").is_dir()


async def test_what_was_never_looked_at_is_not_deleted(root: Path) -> None:
    found = replace(await entry_of(target(root), "other"), version=None)
    assert set(await target(root).delete([found])) == {"other"}
    assert (root / "other").exists()
