"""The embedded servers: PostgreSQL for the ledger and Valkey as the broker, on loopback, each
with a password, their data in the home folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from worker.supervisor.binaries import (
    forget,
    postgres_account,
    postgres_place,
    postgres_programs,
    valkey_program,
)
from worker.supervisor.home import Memory, held
from worker.supervisor.initdb import initialised
from worker.supervisor.output import Output
from worker.supervisor.ports import LOOPBACK, Ports
from worker.supervisor.processes import Child, Process, bare_environment
from worker.supervisor.readiness import broker_answers, database_answers
from worker.supervisor.stages import Stages

# A worker process holds at most 6 connections, an API process 10.
POSTGRES_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # The text of an error may hold what a job carries; who ran the statement is told it anyway.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
VALKEY_SETTINGS = f"""\
bind {LOOPBACK}
dir .
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
always-show-logo no
"""


@dataclass(frozen=True)
class Server:
    """A server to be started, and where it will answer."""

    process: Process
    url: str


def postgres(home: Path, ports: Ports, lock: int) -> Server:
    """PostgreSQL with its data made ready; user `ferryman`, database `postgres`.

    `lock` is the home's lock, which the server goes on holding. Raises InitFailed, NoAccount,
    DataGone, MissingSetting.
    """
    memory = Memory(home)
    password = memory.password("database")
    account = postgres_account(home)
    programs = postgres_programs(account)
    place = postgres_place(home, account)
    data = initialised(place, programs, account, password)
    port = _port("database", memory, ports)
    url = f"postgresql://ferryman:{password}@{LOOPBACK}:{port}/postgres"
    settings = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
    process = Process(
        name="postgres",
        argv=[str(programs / "postgres"), "-D", str(data), "-p", str(port), *settings],
        env=bare_environment(),
        cwd=place,
        account=account,
        pass_fds=(lock,),
        ready=partial(database_answers, url),
        stop_signal=signal.SIGINT,  # fast shutdown: sessions are ended, nothing is lost
        death_signal=signal.SIGINT,
        show=False,
    )
    return Server(process, url)


def valkey(home: Path, ports: Ports, lock: int) -> Server:
    """Valkey with its append-only file on. Raises MissingSetting."""
    program = valkey_program()
    memory = Memory(home)
    password = memory.password("broker")
    port = _port("broker", memory, ports)
    folder = home / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    # In a file of mode 0600, since everybody sees a command line.
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    config.write_text(f"{VALKEY_SETTINGS}port {port}\nrequirepass {password}\n")
    url = f"redis://:{password}@{LOOPBACK}:{port}/0"
    process = Process(
        name="valkey",
        argv=[str(program), config.name],
        env=bare_environment(),
        cwd=folder,
        pass_fds=(lock,),
        ready=partial(broker_answers, url),
        death_signal=signal.SIGTERM,  # writes what it holds, then ends
        show=False,
    )
    return Server(process, url)


@dataclass(frozen=True)
class Embedded:
    """Two running servers: their URLs, and the processes to be killed or started again."""

    database: str
    broker: str
    postgres: Child
    valkey: Child


@contextmanager
def embedded(folder: Path, *, keep: bool = False) -> Iterator[Embedded]:
    """Run both servers with their data in `folder`, for tests and measurements; at the end the
    data is removed unless told to `keep` it. Main thread only. Raises what `postgres`, `valkey`
    and `Stages.start` raise."""
    with held(folder) as lock, Ports() as ports:
        database, broker = postgres(folder, ports, lock), valkey(folder, ports, lock)
        stages = Stages([[database.process, broker.process]], Output(folder / "logs"))
        try:
            stages.start()
            children = stages.children
            yield Embedded(database.url, broker.url, children["postgres"], children["valkey"])
        finally:
            stages.stop()
            if not keep:
                forget(folder)


def _port(name: str, memory: Memory, ports: Ports) -> int:
    port = ports.for_server(memory.port(name))
    memory.keep_port(name, port)
    return port
