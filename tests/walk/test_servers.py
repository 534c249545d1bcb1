"""The embedded servers: that they answer, keep their data and guard their home."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from ferryman.errors import MissingSetting
from tests.harness import until
from worker.supervisor import binaries
from worker.supervisor.binaries import DataGone
from worker.supervisor.home import HomeInUse, Memory, held
from worker.supervisor.readiness import broker_answers
from worker.supervisor.servers import Embedded, embedded


def test_data_passwords_and_ports_are_the_same_after_a_restart(tmp_path: Path) -> None:
    with embedded(tmp_path, keep=True) as first, psycopg.connect(first.database) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        connection.commit()
        redis.Redis.from_url(first.broker).rpush("queue", "job")
    with embedded(tmp_path) as second, psycopg.connect(second.database) as connection:
        assert (second.database, second.broker) == (first.database, first.broker)
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert redis.Redis.from_url(second.broker).lrange("queue", 0, -1) == [b"job"]
        _check_settings(connection, redis.Redis.from_url(second.broker))
        for pid in (second.postgres.pid, second.valkey.pid):
            assert b"PYTEST_CURRENT_TEST" not in Path(f"/proc/{pid}/environ").read_bytes()
            opened = Path(f"/proc/{pid}/fd").iterdir()
            assert tmp_path / "lock" in [descriptor.readlink() for descriptor in opened]
    assert not (tmp_path / "postgres").exists()


def _check_settings(connection: psycopg.Connection, broker: redis.Redis) -> None:
    for name, value in {
        "fsync": "on",
        "synchronous_commit": "on",
        "server_encoding": "UTF8",
    }.items():
        assert connection.execute(f"SHOW {name}").fetchone() == (value,)
    config = broker.config_get("*")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "everysec"
    assert config["maxmemory-policy"] == "noeviction"
    assert config["bind"] == "127.0.0.1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Embedded]:
    with embedded(home) as servers:
        yield servers


def test_a_wrong_password_is_refused(home: Path, running: Embedded) -> None:
    right = Memory(home)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(running.database.replace(right.password("database"), "guess"))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(running.broker.replace(right.password("broker"), "guess")).ping()


def test_the_text_of_a_failed_statement_stays_out_of_the_log(home: Path, running: Embedded) -> None:
    with psycopg.connect(running.database) as connection:
        connection.execute("CREATE TABLE once (key text PRIMARY KEY)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO once VALUES ('canary'), ('canary')")
    log = (home / "logs" / "postgres.log").read_text()
    assert "ready to accept connections" in log
    assert "canary" not in log


def test_a_killed_broker_has_its_queue_again_at_the_same_address(running: Embedded) -> None:
    broker = redis.Redis.from_url(running.broker)
    broker.rpush("killed", "job")
    broker.execute_command("WAITAOF", 1, 0, 5000)  # type: ignore[no-untyped-call]
    running.valkey.kill()
    assert not broker_answers(running.broker)
    running.valkey.start()
    until(lambda: broker_answers(running.broker))
    assert broker.lrange("killed", 0, -1) == [b"job"]


def test_a_home_in_use_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    who = f"process {os.getpid()}.*FERRYMAN_HOME"
    with held(tmp_path), pytest.raises(HomeInUse, match=who), held(tmp_path):
        pass
    with held(tmp_path):
        pass  # free again


def test_servers_of_a_killed_supervisor_still_guard_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(tmp_path) as lock:
        server = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    (tmp_path / "lock").write_text("")  # nobody of that number lives
    monkeypatch.setattr("worker.supervisor.home.LEFT_BEHIND_SECONDS", 0.1)
    try:
        with pytest.raises(HomeInUse, match="servers of an earlier run"), held(tmp_path):
            pass
    finally:
        server.kill()
        server.wait()
    with held(tmp_path):
        pass  # free again


def test_a_missing_wheel_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(MissingSetting, match="FERRYMAN_BROKER_URL"):
        binaries.valkey_program()
    with pytest.raises(MissingSetting, match="FERRYMAN_DATABASE_URL"):
        binaries.postgres_programs(None)


def test_data_that_is_gone_is_never_replaced_by_an_empty_ledger(tmp_path: Path) -> None:
    (tmp_path / "postgres").symlink_to(tmp_path / "cleaned-away")
    with pytest.raises(DataGone, match="cleaned-away"):
        binaries.postgres_place(tmp_path, None)
