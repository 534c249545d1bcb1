"""`up`, `worker`, `api`, `flower`, `migrate`, `sandbox`: the long-running side."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import click

from ferryman._root import root
from ferryman.cli import _run
from ferryman.errors import InvalidSetting

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Without `-A`, which would look for the application where the user stands first.
FLOWER = "import sys; from worker.celery import app; app.start(sys.argv[1:])"

# The sandbox's own text, which lists its faults; the marks keep click from filling its lines.
SANDBOX = "\b\n" + (root() / "sandbox" / "help.txt").read_text().replace("\n\n", "\n\n\b\n")

port = click.IntRange(0, 65535)


@click.command()
@click.option("--sandbox", is_flag=True, help="Run the fake vendors as well; nothing leaves here.")
@click.option("--api-port", type=port, help="Default: 8080, or the next free one.")
@click.option("--flower-port", type=port, help="Default: 5555, or the next free one.")
@click.option("--sandbox-port", type=port, help="Default: 8090, or the next free one.")
def up(sandbox: bool, **ports: int | None) -> NoReturn:
    """Run everything on this machine until Ctrl-C.

    PostgreSQL and Valkey are started here, in FERRYMAN_HOME, unless FERRYMAN_DATABASE_URL and
    FERRYMAN_BROKER_URL name others. Then come migrations, a worker, the API and Flower.

    \b
    Example:
      ferryman up --sandbox
    """
    words = ["--sandbox"] if sandbox else []
    for name, number in ports.items():
        if number is not None:
            words += [f"--{name.replace('_', '-')}", str(number)]
    _run.module("worker.supervisor", *words)


@click.command()
def worker() -> NoReturn:
    """Run jobs until SIGTERM or Ctrl-C.

    Start one a core, on as many machines as you like. FERRYMAN_CONCURRENCY is the number of
    calls in flight (200).

    \b
    Example:
      FERRYMAN_DATABASE_URL=postgresql://… FERRYMAN_BROKER_URL=redis://… ferryman worker
    """
    _run.module("worker")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=port, help="0: any free one.")
def api(host: str, port: int) -> NoReturn:
    """Serve the HTTP API until SIGTERM or Ctrl-C.

    Without FERRYMAN_API_TOKEN it answers this machine only.

    \b
    Example:
      FERRYMAN_API_TOKEN=… ferryman api --host 0.0.0.0 --port 8080
    """
    _run.module("api", "--host", host, "--port", str(port))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5555, show_default=True, type=port, help="Port to listen on.")
def flower(host: str, port: int) -> NoReturn:
    """Serve Flower, which shows workers and tasks and changes nothing.

    FLOWER_BASIC_AUTH=user:password asks for a login; other machines are not answered without.

    \b
    Example:
      FLOWER_BASIC_AUTH=ops:… ferryman flower --host 0.0.0.0
    """
    if host not in LOOPBACK and not os.environ.get("FLOWER_BASIC_AUTH"):
        raise InvalidSetting("FLOWER_BASIC_AUTH", f"is needed to listen on {host}: user:password")
    from ferryman.settings import settings

    home = settings().home.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {
        "address": host,
        "port": port,
        "db": home / "flower",
        "max-tasks": 10_000,
        "purge-offline-workers": 600,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    _run.become(["-c", FLOWER, "flower", "--read-only", "--persistent", *words])


@click.command()
def migrate() -> NoReturn:
    """Bring the ledger's schema to this version; safe to run twice.

    \b
    Example:
      FERRYMAN_DATABASE_URL=postgresql://… ferryman migrate
    """
    _run.module("models.migrate")


@click.command(
    help=SANDBOX,
    context_settings={"max_content_width": 100},
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, type=port, help="0: any free one.")
@click.option("--seed", type=int, help="Same seed, same ids and chances.")
@click.option("--state", type=click.Path(dir_okay=False), help="File that keeps what was done.")
@click.option("--faults", type=click.Path(dir_okay=False), help="JSON file: rules to begin with.")
@click.option("--folder", type=click.Path(file_okay=False), help="Keeps files for applications.")
@click.option(
    "--webhooks",
    metavar="URL",
    help="Send each vendor's webhooks to URL/<vendor>, on this machine.",
)
def sandbox(**options: Any) -> NoReturn:
    given = {name: value for name, value in options.items() if value is not None}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    _run.module("sandbox", *words)
