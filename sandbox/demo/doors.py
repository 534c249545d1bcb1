"""By which ways does a job come in? The five doors, each used as an application would."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
from celery import Celery

import ferryman
from ferryman.errors import FerrymanError
from ferryman.testing.up import State
from sandbox.demo.orders import Order

SQL = "SELECT ferryman.enqueue(%(kind)s, %(args)s::jsonb, key => %(key)s)::text"
COMMAND = Path(sys.executable).with_name("ferryman")
COMMAND_SECONDS = 30


class NoAnswer(FerrymanError):
    """A door, or the worker behind it, did not answer as it should."""


class Doors:
    """Each method takes an order and returns the job's id."""

    def __init__(self, state: State) -> None:
        self._database = str(state["database_url"])
        self._http = httpx.Client(base_url=state["api_url"], trust_env=False, timeout=30)
        self._shop = Celery("shop", broker=state["broker_url"])

    def close(self) -> None:
        self._http.close()
        self._shop.close()

    def python(self, order: Order) -> str:
        made = ferryman.enqueue(order.kind, key=order.key, vendor=order.vendor, **order.args)
        return str(made.id)

    def http(self, order: Order) -> str:
        body = {"kind": order.kind, "args": order.args, "key": order.key, "vendor": order.vendor}
        answer = self._http.post("/v1/jobs", json=body)
        return str(answer.raise_for_status().json()["id"])

    def celery(self, order: Order) -> str:
        """Knows no key; the task's id becomes the job's."""
        task = f"ferryman.{order.kind}"
        return str(self._shop.send_task(task, kwargs=order.args, queue="ferryman").id)

    def sql(self, order: Order) -> str:
        with psycopg.connect(self._database) as connection:
            return _insert(connection, order)

    def rolled_back(self, order: Order) -> str:
        """The application changes its mind: its transaction is rolled back, and the job with it."""
        with psycopg.connect(self._database) as connection:
            made = _insert(connection, order)
            connection.rollback()
        return made

    def worker(self) -> int:
        """The process id of the worker, by Celery's remote control. Raises NoAnswer."""
        found = self._shop.control.inspect(timeout=5, limit=1).stats() or {}
        for stats in found.values():
            return int(stats["pid"])
        raise NoAnswer("no Celery worker answers")

    def mails_of(self, people: Path) -> str:
        """`ferryman email`: a mail to everyone in a CSV, by the template of the newsletter."""
        words = ["email", str(people), "--template", "d-newsletter", "--no-wait"]
        return _last_line(_started([*words, "--key", "newsletter"]))


def spread(doors: Doors, orders: list[Order]) -> list[tuple[Order, str, str]]:
    """The orders by turns through all doors: each with the door's name and the job's id."""
    ways: dict[str, Callable[[Order], str]] = {
        "Python": doors.python,
        "HTTP": doors.http,
        "Celery": doors.celery,
        "SQL": doors.sql,
    }
    turns = len(ways) + 1
    # A new process takes a moment: all at once, and the other doors meanwhile.
    started = [(order, _enqueueing(order)) for order in orders[turns - 1 :: turns]]
    found = [
        (order, door, enqueue(order))
        for place, (door, enqueue) in enumerate(ways.items())
        for order in orders[place::turns]
    ]
    return found + [(order, "command line", _last_line(process)) for order, process in started]


def _insert(connection: psycopg.Connection[tuple[str]], order: Order) -> str:
    values = {"kind": order.kind, "args": json.dumps(order.args), "key": order.key}
    row = connection.execute(SQL, values).fetchone()
    assert row is not None
    return row[0]


def _enqueueing(order: Order) -> subprocess.Popen[str]:
    key = ["--key", order.key] if order.key else []
    return _started(["enqueue", order.kind, *key, "--args", json.dumps(order.args)])


def _started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own command
        [COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _last_line(process: subprocess.Popen[str]) -> str:
    """What it printed last: the job's id. Raises NoAnswer with what it said otherwise."""
    said, complaint = process.communicate(timeout=COMMAND_SECONDS)
    if process.returncode != 0:
        raise NoAnswer(f"{process.args!r} ended with {process.returncode}: {complaint}")
    return said.splitlines()[-1]
