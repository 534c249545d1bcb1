"""`ferryman up`: the order of things, restarts, ports, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest

from ferryman.settings import alive, settings
from ferryman.testing import Sandbox, running
from tests.harness import ROOT, STRIPE_KEY, free_port, until
from tests.stand_ins import ask_to_stop, program
from worker.supervisor import __main__ as supervisor
from worker.supervisor.banner import banner
from worker.supervisor.home import announced
from worker.supervisor.ports import Ports, PortTaken
from worker.supervisor.readiness import broker_answers, database_answers
from worker.supervisor.servers import embedded
from worker.supervisor.up import Addresses, public_environment, services, vendor_environment

SUPERVISE = """
import sys
from pathlib import Path
from worker.supervisor.home import held
from worker.supervisor.output import terminal
from worker.supervisor.ports import Ports
from worker.supervisor.processes import Process
from worker.supervisor.servers import postgres, valkey
from worker.supervisor.stages import Stages
home = Path(sys.argv[1])
idle = Process(name="idle", argv=["sleep", "600"])
deaf = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"
worker = Process(name="worker", argv=[sys.executable, "-c", deaf])
with held(home) as lock, Ports() as ports:
    first = [postgres(home, ports, lock).process, valkey(home, ports, lock).process]
    stages = Stages([first, [idle, worker]], terminal(home / "logs"))
    stages.run(lambda: print("READY", flush=True))
"""


@pytest.fixture
def supervise() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts a supervisor of both servers and two stand-ins, as a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(home: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SUPERVISE, str(home)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        lines = started[-1].stdout
        assert lines is not None
        assert "READY\n" in iter(lines.readline, ""), "it ended before it was ready"
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_kill_9_leaves_nothing_behind_and_the_next_start_goes_on(
    tmp_path: Path, supervise: Callable[[Path], subprocess.Popen[str]]
) -> None:
    first = supervise(tmp_path)
    left = _descendants(first.pid)
    assert len(left) > 6  # PostgreSQL's own among them
    first.kill()
    first.wait()
    second = supervise(tmp_path)
    assert not [pid for pid in left if alive(pid)]
    left = _descendants(second.pid)
    second.send_signal(signal.SIGINT)
    second.send_signal(signal.SIGTERM)  # the worker is deaf; a second signal does not wait for it
    assert second.wait(10) == 0
    assert not [pid for pid in left if alive(pid)]
    assert "database system is shut down" in (tmp_path / "logs" / "postgres.log").read_text()
    with embedded(tmp_path):  # and removes the data
        pass


def _descendants(pid: int) -> set[int]:
    found = {pid}
    parents = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid}


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_in_use_gives_the_next_free_one(listener: int) -> None:
    with Ports() as ours, Ports() as theirs:
        first = ours.from_(listener)
        assert first > listener
        assert theirs.from_(listener) > first  # promised, though nobody listens yet
    with Ports() as later:
        assert later.from_(first) == first
        with pytest.raises(PortTaken, match=f"{listener} is in use.*--api-port"):
            later.exactly(listener, "--api-port")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for `main`, with nothing else set."""
    for name in ("DATABASE_URL", "BROKER_URL", "ENV", "API_TOKEN"):
        monkeypatch.delenv(f"FERRYMAN_{name}", raising=False)
    monkeypatch.setenv("FERRYMAN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


def test_an_explicit_port_in_use_is_refused(
    home: Path, listener: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert supervisor.main(["--api-port", str(listener)]) == 2
    assert f"port {listener} is in use" in capsys.readouterr().err
    assert not (home / "postgres").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "FERRYMAN_DATABASE_URL"),
        ({"FERRYMAN_DATABASE_URL": "postgresql://h/d"}, "FERRYMAN_BROKER_URL"),
        (
            {"FERRYMAN_DATABASE_URL": "postgresql://h/d", "FERRYMAN_BROKER_URL": "redis://h"},
            "--sandbox",
        ),
    ],
)
def test_production_gets_neither_embedded_servers_nor_fakes(
    home: Path,
    given: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**given, "FERRYMAN_ENV": "production"}.items():
        monkeypatch.setenv(name, value)
    assert supervisor.main(["--sandbox"]) == 2
    assert named in capsys.readouterr().err
    assert not home.exists()


def test_main_runs_the_servers_tells_where_they_are_and_takes_it_back(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import os; print(os.environ['FERRYMAN_DATABASE_URL'], os.environ['S3_BASE_URL'])"
    monkeypatch.setattr(
        supervisor,
        "services",
        lambda folder, addresses, env, grace: [[program("api", code, env=env, once=True)]],
    )
    state: dict[str, object] = {}

    def look() -> None:
        until((home / "up.json").exists)
        state.update(json.loads((home / "up.json").read_text()))
        state["mode"] = (home / "up.json").stat().st_mode & 0o777
        state["answers"] = (
            database_answers(str(state["database_url"])),
            broker_answers(str(state["broker_url"])),
        )
        ask_to_stop()

    Thread(target=look, daemon=True).start()
    assert supervisor.main(["--sandbox"]) == 0
    assert (state["pid"], state["mode"], state["answers"]) == (os.getpid(), 0o600, (True, True))
    assert f"{state['database_url']} {state['s3_url']}" in (home / "logs/api.log").read_text()
    assert "ferryman is up" in capsys.readouterr().out
    assert not (home / "up.json").exists()
    with embedded(home):  # removes the data
        pass


def test_the_sandbox_always_gets_the_calls_and_never_asks_for_keys(tmp_path: Path) -> None:
    given = {
        "STRIPE_BASE_URL": "https://api.example",
        "STRIPE_SECRET_KEY": "sk_test_" + "mine",
        "STRIPE_WEBHOOK_SECRET": "whsec_" + "mine",
        "FROM_EMAIL": "me@example.com",
    }
    made = vendor_environment(tmp_path, Addresses(8080, 5555, 8090, 8091), given)
    assert made["STRIPE_BASE_URL"] == "http://127.0.0.1:8090/stripe"
    assert made["S3_BASE_URL"] == "http://127.0.0.1:8091"
    # A real key stays away from a fake, and only the fake's secret verifies what it signs.
    assert made["STRIPE_SECRET_KEY"] == "sk_test_" + "sandbox"
    assert made["STRIPE_WEBHOOK_SECRET"] == "whsec_" + "sandbox"
    assert made["SENDGRID_API_KEY"]
    assert "FROM_EMAIL" not in made
    assert vendor_environment(tmp_path, Addresses(8080, 5555, 8090, 8091), {})["FROM_EMAIL"]
    assert vendor_environment(tmp_path, Addresses(8080, 5555), given) == {}


def test_every_fake_vendor_is_pointed_at(tmp_path: Path) -> None:
    made = vendor_environment(tmp_path, Addresses(8080, 5555, 8090, 8091), {})
    # Cloud Storage has no fake there: nobody is reached, least of all Google.
    assert made["GCS_BASE_URL"] == "http://127.0.0.1:1"
    with running(folder=tmp_path / "sandbox") as sandbox:
        told = sandbox.environment()
    for name in ("PAYPAL_BASE_URL", "PAYPAL_WEBHOOK_ID", "PAYPAL_CERT_ROOT"):
        assert name in made
    assert {n: v for n, v in told.items() if not n.endswith("_BASE_URL")}.items() <= made.items()
    assert Path(made["PAYPAL_CERT_ROOT"]).read_text().startswith("-----BEGIN CERTIFICATE")


def test_the_sandbox_tells_the_api_from_the_start(tmp_path: Path) -> None:
    addresses = Addresses(free_port(), free_port(), free_port(), free_port())
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    stages = services(tmp_path, addresses, env, 1)
    (process,) = [one for stage in stages for one in stage if one.name == "sandbox"]
    with subprocess.Popen(process.argv, env=env, stdout=subprocess.DEVNULL) as started:
        sandbox = Sandbox(str(addresses.url(addresses.sandbox)))
        sandbox.wait_until_ready()
        key = {"Authorization": f"Bearer {STRIPE_KEY}"}
        httpx.post(f"{sandbox.url}/stripe/v1/customers", headers=key, trust_env=False)
        (delivery,) = until(sandbox.deliveries)
        given = Path(vendor_environment(tmp_path, addresses, {})["PAYPAL_CERT_ROOT"])
        sandbox.close()
        started.terminate()
    assert (delivery["vendor"], delivery["type"]) == ("stripe", "customer.created")
    assert given.exists()
    assert (tmp_path / "sandbox.json").exists()


def test_payers_come_back_to_the_api_of_this_machine() -> None:
    both = Addresses(8081, 5555, 8090, 8091)
    assert public_environment(both, {}) == {"FERRYMAN_PUBLIC_URL": "http://127.0.0.1:8081"}
    assert public_environment(both, {"FERRYMAN_PUBLIC_URL": "https://pay.example"}) == {}
    assert public_environment(Addresses(8081, 5555), {}) == {}


@pytest.mark.parametrize("with_token", [False, True])
def test_the_commands_of_the_banner_can_be_pasted(with_token: bool) -> None:
    state = {
        "pid": 1,
        "api_url": "http://127.0.0.1:8081",
        "flower_url": "http://127.0.0.1:5555",
        "database_url": "postgresql://ferryman:p@127.0.0.1:5432/postgres",
        "broker_url": "redis://:p@127.0.0.1:6379/0",
        "sandbox_url": None,
        "s3_url": None,
    }
    text = banner(Path("/a home"), state, with_token=with_token)
    words = {line.split()[0]: shlex.split(line) for line in text.splitlines() if line.strip()}
    curl = words["curl"]
    assert "http://127.0.0.1:8081/v1/jobs" in curl
    assert json.loads(curl[-1])["kind"] == "charge"
    assert ("Authorization: Bearer ${FERRYMAN_API_TOKEN%%,*}" in curl) == with_token
    exports = [line for line in text.splitlines() if "export" in line]
    assert [line.split("=", 1)[1] for line in exports] == [
        state["database_url"],
        state["broker_url"],
    ]
    enqueue = next(shlex.split(line) for line in text.splitlines() if " enqueue " in line)
    assert enqueue[0] == "FERRYMAN_HOME=/a home"
    assert Path(enqueue[1]).is_absolute()
    assert json.loads(enqueue[-1])["amount"] == 1250


def test_with_the_fakes_the_banner_has_a_payment_by_paypal() -> None:
    state = {
        "pid": 1,
        "api_url": "http://127.0.0.1:8081",
        "flower_url": "http://127.0.0.1:5555",
        "database_url": "postgresql://ferryman:p@127.0.0.1:5432/postgres",
        "broker_url": "redis://:p@127.0.0.1:6379/0",
        "sandbox_url": "http://127.0.0.1:8090",
        "s3_url": "http://127.0.0.1:8091",
    }
    text = banner(Path("/home"), state, with_token=False)
    assert "PayPal" in text
    words = next(shlex.split(line) for line in text.splitlines() if "--vendor paypal" in line)
    assert json.loads(words[-1])["payment_method"] == "paypal"
    assert "paypal" not in banner(Path("/home"), {**state, "sandbox_url": None}, with_token=False)


def test_what_is_announced_goes_away_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), announced(tmp_path, {"pid": 1}):
        raise RuntimeError
    assert [*tmp_path.iterdir()] == []
