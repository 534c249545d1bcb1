"""`python -m sandbox`: runs the fake vendors until it is told to stop."""

import signal
import socket
import sys
import threading
from pathlib import Path

import click
import uvicorn

from sandbox.app import App
from sandbox.exchange import Protocol
from sandbox.state import State

HELP = """Run fake vendors on this machine, for tests and demonstrations.

Each vendor answers under its own path, as strictly as the real one, and keeps what it was told:

\b
    STRIPE_BASE_URL=http://127.0.0.1:8090/stripe       key: sk_test_ and anything
    SENDGRID_BASE_URL=http://127.0.0.1:8090/sendgrid   key: SG. and anything

Its own interface, in JSON, is under /_sandbox:

\b
    GET    /_sandbox/health                 ready, and which vendors there are
    GET    /_sandbox/environment            base URLs and keys, as environment variables
    GET    /_sandbox/effects                what took effect (?vendor= &kind= &after= &limit=)
    GET    /_sandbox/effects/totals         how many of each kind
    GET    /_sandbox/requests               the last 10,000 requests (?vendor=)
    GET    /_sandbox/traffic                requests, refused ones, peak a second, per vendor
    POST   /_sandbox/limits                 {"vendor": "stripe", "per_second": 25}, null: none
    POST   /_sandbox/faults                 {"rules": [RULE, ...]}; "append": true adds to them
    GET    /_sandbox/faults                 the rules, how often they matched and fired
    DELETE /_sandbox/faults                 no faults any more
    POST   /_sandbox/stripe/dashboard/X     what a person clicks: refund, dispute, card,
                                            authenticate, settings
    DELETE /_sandbox                        forget everything

A RULE says who, when and what:

\b
    {"vendor": "stripe", "method": "POST", "path": "/v1/refunds*", "contains": "text of the body",
     "when": "always" | {"nth": [3, 7]} | {"first": 2} | {"every": 10} | {"probability": 0.1},
     "times": 5, "for_seconds": 10, "do": WHAT, ...options of WHAT}

\b
WHAT, before anything takes effect:
    latency        seconds; adds up with other rules'
    status         status, headers, body; by default the vendor's own words
    throttle       429; retry_after (1; null: no header), as_date
    drop_before    close the connection without an answer; reset: by RST
    silent_before  never answer
WHAT, after the vendor has acted:
    drop_after     act, then close the connection; reset: by RST
    silent_after   act, never answer
    error_after    act, then answer status (500); stored under the idempotency key, if there is one
    late           act at once, answer after seconds
    garble         act, answer something that is not JSON (body)
    slow_body      act, answer byte by byte, seconds (0.01) after each
    truncate       act, promise the whole body, send bytes of it (half), close

\b
Example: the vendor is down for ten seconds.
    curl -X POST http://127.0.0.1:8090/_sandbox/faults \\
      -d '{"rules": [{"vendor": "stripe", "do": "status", "status": 503, "for_seconds": 10}]}'
"""

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
    "--until-eof", is_flag=True, help="Stop when standard input ends: no orphan, whatever happens."
)
def main(host: str, port: int, seed: int, state: Path | None, until_eof: bool) -> None:
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            App(State(seed, state)),
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
        )
    )
    # uvicorn stops in order, then raises the signal again: this keeps the exit status 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if until_eof:
        threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
    click.echo(f"sandbox: http://{host}:{listener.getsockname()[1]}")
    sys.stdout.flush()
    server.run(sockets=[listener])


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
    main(prog_name="python -m sandbox")
