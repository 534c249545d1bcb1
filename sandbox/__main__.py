"""`python -m sandbox`: runs the fake vendors until it is told to stop."""

import signal
import socket
import sys
import threading
from pathlib import Path
from typing import IO

import click
import orjson
import uvicorn

from sandbox.app import App
from sandbox.exchange import Protocol
from sandbox.faults import BadRule
from sandbox.state import State
from sandbox.webhooks import BadTarget

# click would fill the lines of a paragraph that is not marked.
HELP = "\b\n" + Path(__file__).with_name("help.txt").read_text().replace("\n\n", "\n\n\b\n")

GRACE_SECONDS = 1
KEEP_ALIVE_SECONDS = 75


@click.command(help=HELP, context_settings={"max_content_width": 100})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, help="Port; 0 takes a free one.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same ids and chances.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that keeps rows and effects beyond a kill, one JSON line each.",
)
@click.option(
    "--faults",
    type=click.File("rb"),
    help='JSON file of the rules to begin with: a list, or {"rules": [...]}.',
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where files for applications are kept, PayPal's root certificate; else a passing one.",
)
@click.option(
    "--webhooks",
    metavar="URL",
    help="Send each vendor's webhooks to URL/<vendor> from the start; on this machine only.",
)
@click.option(
    "--until-eof", is_flag=True, help="Stop when standard input ends: no orphan, whatever happens."
)
def main(
    host: str,
    port: int,
    seed: int,
    state: Path | None,
    faults: IO[bytes] | None,
    folder: Path | None,
    webhooks: str | None,
    until_eof: bool,
) -> None:
    known = _known(seed, state, folder, webhooks)
    if faults:
        _install(known, faults)
    listener = _listen(host, port)
    server = Server(
        uvicorn.Config(
            App(known),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            # Requests that a fault leaves silent would hold the end up for ever.
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=4096,
        ),
        known,
    )
    # uvicorn stops in order, then raises the signal again: this keeps the exit status 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if until_eof:
        threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
    click.echo(f"sandbox: http://{host}:{listener.getsockname()[1]}")
    sys.stdout.flush()
    server.run(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn's, which ends the deliveries of webhooks as well."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._state.webhooks.close()


def _known(seed: int, file: Path | None, folder: Path | None, webhooks: str | None) -> State:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return State(seed, file, folder, webhooks and webhooks.rstrip("/"))
    except BadTarget as error:
        raise click.ClickException(f"--webhooks: {error}") from None


def _install(state: State, file: IO[bytes]) -> None:
    try:
        script = orjson.loads(file.read())
        rules = script.get("rules") if isinstance(script, dict) else script
        if not isinstance(rules, list):
            raise BadRule('a list of rules is expected, or {"rules": [...]}')
        state.faults.install(rules)
    except (orjson.JSONDecodeError, BadRule) as error:
        raise click.ClickException(f"{file.name}: {error}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port} ({error.strerror}); --port 0 takes a free one"
        ) from None
    listener.listen()
    return listener


def _stop_at_eof(server: uvicorn.Server) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    server.should_exit = True


if __name__ == "__main__":
    main(prog_name="ferryman sandbox")
