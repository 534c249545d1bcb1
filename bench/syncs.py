"""Who brings a folder into a bucket: `ferryman sync`, `aws s3 sync`, `rclone sync` and a script
with obstore, side by side against one server."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from bench.contest import console
from bench.peers import aws, bare_obstore, rclone
from bench.place import Place
from bench.sync import AT_ONCE, Ferryman, Run, ferryman, median, server, write_tree

Sync = Callable[[Path, str], Run]
"""Brings a folder into a bucket of that name."""


@dataclass(frozen=True)
class Meeting:
    """Where they meet: a server, a folder for files, and the contestants, each of which has run
    once."""

    folder: Path
    url: str
    ours: Ferryman
    syncs: dict[str, Sync]


@contextlib.contextmanager
def meeting(place: Place) -> Iterator[Meeting]:
    with (
        tempfile.TemporaryDirectory() as folder,
        server("bench.bucket") as url,
        ferryman(place, url) as ours,
    ):
        here = Path(folder)
        syncs = contestants(ours, url, here)
        write_tree(here / "warm", 200, 1024)
        for name, sync in syncs.items():
            sync(here / "warm", f"warm-{_bucket(name)}")
        yield Meeting(here, url, ours, syncs)


def contestants(ours: Ferryman, url: str, here: Path) -> dict[str, Sync]:
    """Those that are installed."""
    found: dict[str, Sync] = {
        "ferryman": ours.run,
        "bare obstore": lambda folder, bucket: bare_obstore.run(folder, url, bucket),
    }
    if aws.PROGRAM:
        found["aws"] = lambda folder, bucket: aws.run(folder, url, bucket, here)
    if rclone.PROGRAM:
        found["rclone"] = lambda folder, bucket: rclone.run(folder, url, bucket)
    for name in {"aws", "rclone"} - found.keys():
        console.print(f"{name}: skipped, not installed (group `bench`)")
    return found


def by_other_proofs(ours: Ferryman, url: str) -> dict[str, Sync]:
    """The same by other proofs of sameness than each has by itself."""
    found: dict[str, Sync] = {
        "ferryman --size-only": lambda folder, bucket: ours.run(folder, bucket, "--size-only")
    }
    if rclone.PROGRAM:
        found["rclone --checksum"] = lambda folder, bucket: rclone.run(
            folder, url, bucket, "--checksum"
        )
    return found


def copied(syncs: dict[str, Sync], folder: Path, rounds: int) -> dict[str, list[Run]]:
    """Each time into a new bucket."""
    runs: dict[str, list[Run]] = {name: [] for name in syncs}
    for number in range(rounds):
        for name, sync in syncs.items():
            runs[name].append(sync(folder, f"{folder.name}-{_bucket(name)}-{number}"))
    return runs


def looked_at(syncs: dict[str, Sync], folder: Path, rounds: int) -> dict[str, list[Run]]:
    """Each time in the bucket that it has filled itself."""
    filled: set[str] = set()
    for name, sync in syncs.items():
        if (bucket := _bucket(name)) not in filled:
            sync(folder, f"{folder.name}-{bucket}")
            filled.add(bucket)
    runs: dict[str, list[Run]] = {name: [] for name in syncs}
    for _ in range(rounds):
        for name, sync in syncs.items():
            runs[name].append(sync(folder, f"{folder.name}-{_bucket(name)}"))
    return runs


def _bucket(name: str) -> str:
    """A contestant's, whatever its options."""
    return name.partition(" ")[0]


def report(title: str, runs: dict[str, list[Run]]) -> None:
    ours = median(runs["ferryman"])
    table = Table("", "s", "its s / ours", "CPU s", "memory MiB", "PostgreSQL CPU s", "s of each")
    for name, found in runs.items():
        middle = median(found)
        table.add_row(
            name,
            f"{middle.seconds:.2f}",
            f"{middle.seconds / ours.seconds:.2f}",
            f"{middle.cpu:.2f}",
            f"{middle.memory:.0f}",
            "" if middle.ledger is None else f"{middle.ledger:.2f}",
            ", ".join(f"{run.seconds:.2f}" for run in found),
        )
    rounds = len(runs["ferryman"])
    console.print(f"\n{title}, {AT_ONCE} at once; median of {rounds} interleaved runs", table)
