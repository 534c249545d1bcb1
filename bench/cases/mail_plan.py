"""A list of a million planned, beside a script that stores nothing; its memory beside that of a
tenth."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import psycopg
from rich.table import Table

from bench import mail
from bench.contest import console
from bench.place import Place
from bench.walk import new_ledger, workers

MANY = 1_000_000
# Nothing is sent.
NOWHERE = "http://127.0.0.1:9"


def main(place: Place) -> None:
    many = place.jobs(MANY)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        mail.write_list(path, many)
        script, ours = [], []
        for _ in range(place.rounds):
            script.append(mail.plain_plan(path, _suppressed(many)))
            ours.append(_plan(place, path, many))
        mail.write_list(path, many // 10)
        tenth = _plan(place, path, many // 10)
    plan = statistics.median(one.plan for one in ours)
    table = Table("", "seconds", "/ script", "peak memory MiB", "seconds of each run")
    table.add_row("script", *_row(script, script))
    table.add_row("ferryman", *_row([one.plan for one in ours], script, ours[-1].memory))
    table.add_row("its upload before", *_row([one.upload for one in ours], script))
    console.print(f"\n{many} recipients of a CSV; median of {place.rounds} interleaved runs", table)
    console.print(
        f"peak memory of the worker, {many // 10} recipients: {tenth.memory:.0f} MiB,"
        f" {many}: {ours[-1].memory:.0f} MiB; planned a second: {many / plan:.0f}"
    )


def _plan(place: Place, path: Path, many: int) -> mail.Planned:
    """By one worker process, on an empty ledger."""
    database = new_ledger(place, "mail_plan")
    with (
        psycopg.connect(database, autocommit=True) as ledger,
        workers(place, database, NOWHERE, 1, 200, vendor="sendgrid") as (worker,),
    ):
        mail.suppress(ledger, many)
        return mail.plan(ledger, database, path, worker.pid)


def _suppressed(many: int) -> set[str]:
    return {f"user{n * 50}@example{n * 50 % mail.DOMAINS}.com" for n in range(1, many // 50 + 1)}


def _row(seconds: list[float], script: list[float], memory: float | None = None) -> list[str]:
    middle = statistics.median(seconds)
    return [
        f"{middle:.1f}",
        f"{middle / statistics.median(script):.2f}",
        f"{memory:.0f}" if memory else "",
        ", ".join(f"{one:.1f}" for one in seconds),
    ]
