"""`python -m api`: serve the HTTP API in the foreground until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import uvicorn

from adapters._live import check_keys
from api import doors
from api.app import LINES, Api, create
from api.auth import is_loopback
from ferryman.errors import FerrymanError, MissingSetting
from ferryman.settings import Settings, adopt_env_file, settings
from models.engine import async_engine

BAD_SETTING = 2
NO_PORT = 1
BACKLOG = 2048
# Allocations until the youngest are looked through, and how often until those that survived are.
COLLECTED_AFTER = (20_000, 10, 10)


class Server(uvicorn.Server):
    """Ends orderly: no new connections, long polls are answered, the rest is finished."""

    def __init__(self, app: Api, own: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=max(1, round(own.grace_seconds)),
            )
        )
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Uvicorn would raise the signal again at its end: an orderly stop is exit status 0.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = self._app.state.stopping = True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", default=8080, type=int, help="0: any free one")
    asked = parser.parse_args(arguments)
    adopt_env_file()
    try:
        own = settings()
        check(own, asked.host)
        app = _app(own)
    except (FerrymanError, ValueError) as error:
        return _say(str(error), BAD_SETTING)
    try:
        listener = listen(asked.host, asked.port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        return _say(
            f"cannot listen on {asked.host} port {asked.port}: {reason}; give another --port",
            NO_PORT,
        )
    _announce(listener, own)
    _spare_what_stays()
    Server(app, own).run(sockets=[listener])
    return 0


def check(own: Settings, host: str) -> None:
    """Raises MissingSetting or LiveKey where it would be dangerous to serve."""
    if not own.tokens() and not is_loopback(host):
        raise MissingSetting(
            "FERRYMAN_API_TOKEN", f"without it the API listens on loopback only, not on {host}"
        )
    check_keys(production=own.production)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError where the address is in use or not of this machine."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # `localhost` has two addresses: the old one is what everybody tries.
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _app(own: Settings) -> Api:
    engine = async_engine(own.resolve_database_url(), connections=max(1, own.database_pool - LINES))
    try:
        broker_url = own.resolve_broker_url()
    except MissingSetting:
        # Jobs are accepted without a broker; /readyz tells that it is missing.
        broker_url = None
    return create(
        engine,
        broker_url=broker_url,
        tokens=own.tokens(),
        public_url=own.public_url,
        rate=own.api_rate,
    )


def _spare_what_stays() -> None:
    """Modules and routes stay to the end: to look through them for what could go, time and again,
    held up all requests for 150 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def _announce(listener: socket.socket, own: Settings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"ferryman: the API listens on http://{shown}:{port}", file=sys.stderr)
    if not own.tokens():
        print(
            "ferryman: FERRYMAN_API_TOKEN is not set: no token is needed,"
            " and only this machine is answered",
            file=sys.stderr,
        )
    if shut := doors.closed():
        told = ", ".join(f"{vendor} ({', '.join(names)})" for vendor, names in shut.items())
        print(
            f"ferryman: webhooks are not taken until what verifies them is set: {told}",
            file=sys.stderr,
        )


def _say(message: str, status: int) -> int:
    print(f"ferryman: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
