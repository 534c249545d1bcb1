"""`ferryman sync` of one file of 512 MiB, beside aws-cli, rclone and a bare obstore script."""

from __future__ import annotations

from bench.place import Place
from bench.sync import write_tree
from bench.syncs import copied, meeting, report

BYTES = 512 * 1024 * 1024


def main(place: Place) -> None:
    size = int(BYTES * place.scale)
    with meeting(place) as here:
        write_tree(here.folder / "large", 1, size)
        runs = copied(here.syncs, here.folder / "large", place.rounds)
    report(f"one file of {size >> 20} MiB", runs)
