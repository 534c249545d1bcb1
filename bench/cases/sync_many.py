"""`ferryman sync` of two thousand files of 64 KiB, beside aws-cli, rclone and a bare obstore."""

from __future__ import annotations

from bench.place import Place
from bench.sync import write_tree
from bench.syncs import copied, meeting, report

MANY, BYTES = 2000, 64 * 1024


def main(place: Place) -> None:
    many = place.jobs(MANY)
    with meeting(place) as here:
        write_tree(here.folder / "many", many, BYTES)
        runs = copied(here.syncs, here.folder / "many", place.rounds)
    report(f"{many} files of 64 KiB", runs)
