"""`python -m worker.supervisor`: everything on this machine under one process, as `ferryman up`."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from ferryman.errors import FerrymanError
from ferryman.settings import Settings, settings
from worker.supervisor.banner import banner
from worker.supervisor.home import Memory, announced, held
from worker.supervisor.initdb import InitFailed
from worker.supervisor.output import OWN, Output, terminal
from worker.supervisor.ports import LOOPBACK, Ports
from worker.supervisor.processes import Process
from worker.supervisor.servers import postgres, valkey
from worker.supervisor.stages import BAD_INPUT, Stages, StartFailed
from worker.supervisor.up import (
    Addresses,
    public_environment,
    service_environment,
    services,
    vendor_environment,
)


class NotInProduction(FerrymanError):
    """`--sandbox` was asked for with FERRYMAN_ENV=production, where fakes have no place."""

    def __init__(self) -> None:
        super().__init__("--sandbox is not for FERRYMAN_ENV=production: leave one of them out")


def main(words: list[str] | None = None) -> int:
    """Run until a signal. The exit status: 0 stopped as asked, 1 a child could not be brought up,
    2 bad input."""
    try:
        up(_options(words), settings())
    except StartFailed as error:
        return _failed(error, error.status)
    except InitFailed as error:
        return _failed(error, 1)
    except FerrymanError as error:
        return _failed(error, BAD_INPUT)
    except KeyboardInterrupt:
        return 130  # before anything was started
    return 0


def up(options: argparse.Namespace, given: Settings) -> None:
    """Start all, tell where it is, and stay until SIGINT, SIGTERM or SIGHUP.

    Raises what is wrong with the settings, the ports, the servers' data or a child.
    """
    _check(options, given)
    home = given.home.absolute()
    with held(home) as lock, Ports() as ports, ExitStack() as told:
        output = terminal(home / "logs")
        addresses = _addresses(options, ports, output)
        servers, database_url, broker_url = _servers(given, home, ports, lock)
        vendors = vendor_environment(home, addresses, os.environ)
        invented = f"ferryman:{Memory(home).password('flower')}"
        login = os.environ.get("FLOWER_BASIC_AUTH") or invented
        public = public_environment(addresses, os.environ)
        extra = {"FLOWER_BASIC_AUTH": login, **public, **vendors}
        env = service_environment(home, database_url, broker_url, extra)
        state = {
            "pid": os.getpid(),
            "database_url": database_url,
            "broker_url": broker_url,
            "api_url": addresses.url(addresses.api),
            "flower_url": _flower_url(addresses, login),
            "sandbox_url": addresses.url(addresses.sandbox),
            "s3_url": addresses.url(addresses.s3),
            "environment": vendors,
        }

        def tell() -> None:
            told.enter_context(announced(home, state))
            output.say(banner(home, state, with_token=bool(given.tokens())))

        Stages([servers, *services(home, addresses, env, given.grace_seconds)], output).run(tell)


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ferryman up", description=__doc__)
    parser.add_argument("--sandbox", action="store_true", help="run the fake vendors as well")
    for name, default in (("api", 8080), ("flower", 5555), ("sandbox", 8090)):
        what = f"default: {default}, or the next free one"
        parser.add_argument(f"--{name}-port", type=int, metavar="PORT", help=what)
    return parser.parse_args(words)


def _check(options: argparse.Namespace, given: Settings) -> None:
    if given.production:
        given.resolve_database_url()
        given.resolve_broker_url()
        if options.sandbox:
            raise NotInProduction


def _addresses(options: argparse.Namespace, ports: Ports, output: Output) -> Addresses:
    def port(what: str, asked: int | None, first: int) -> int:
        if asked is not None:
            return ports.exactly(asked, f"--{what}-port")
        taken = ports.from_(first)
        if taken != first:
            output.line(OWN, f"port {first} is in use: {what} gets {taken}")
        return taken

    api = port("api", options.api_port, 8080)
    flower = port("flower", options.flower_port, 5555)
    if not options.sandbox:
        return Addresses(api, flower)
    return Addresses(
        api, flower, port("sandbox", options.sandbox_port, 8090), port("s3", None, 8091)
    )


def _servers(
    given: Settings, home: Path, ports: Ports, lock: int
) -> tuple[list[Process], str, str]:
    """The servers that no URL was given for, and the URLs of both."""
    servers = []
    database_url, broker_url = given.database_url, given.broker_url
    if not database_url:
        server = postgres(home, ports, lock)
        servers.append(server.process)
        database_url = server.url
    if not broker_url:
        server = valkey(home, ports, lock)
        servers.append(server.process)
        broker_url = server.url
    return servers, database_url, broker_url


def _flower_url(addresses: Addresses, login: str) -> str:
    """With the login in it if that is ours, so that a browser needs nothing else; an operator's
    own password is not for our files and our terminal."""
    shown = "" if os.environ.get("FLOWER_BASIC_AUTH") else f"{login}@"
    return f"http://{shown}{LOOPBACK}:{addresses.flower}"


def _failed(error: FerrymanError, status: int) -> int:
    print(f"ferryman: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
