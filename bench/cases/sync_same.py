"""`ferryman sync` of twenty thousand files that are there already, beside the same three."""

from __future__ import annotations

from bench.place import Place
from bench.sync import write_tree
from bench.syncs import by_other_proofs, looked_at, meeting, report

MANY, BYTES = 20_000, 1024


def main(place: Place) -> None:
    many = place.jobs(MANY)
    with meeting(place) as here:
        write_tree(here.folder / "same", many, BYTES)
        syncs = here.syncs | by_other_proofs(here.ours, here.url)
        runs = looked_at(syncs, here.folder / "same", place.rounds)
    report(f"{many} files of 1 KiB that are there already", runs)
