"""The command line: which commands there are, and how errors end."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ferryman.cli import _show
from ferryman.cli.batch import batch
from ferryman.cli.contacts import contacts
from ferryman.cli.email import email
from ferryman.cli.events import poll_events
from ferryman.cli.health import health
from ferryman.cli.jobs import enqueue, job, jobs
from ferryman.cli.mend import cancel, resolve, retry
from ferryman.cli.services import api, flower, migrate, sandbox, up, worker
from ferryman.cli.sms import sms
from ferryman.cli.suppressions import suppressions
from ferryman.cli.sync import sync
from ferryman.cli.track import track
from ferryman.cli.vendors import vendor, vendors
from ferryman.errors import FerrymanError, KeyInFlight, NotPossible, Unreachable

INTERRUPTED = 130
# All other errors are about what was given.
NOT_ABOUT_INPUT = (KeyInFlight, NotPossible, Unreachable)


class Commands(click.Group):
    """Errors are one line on standard error; a command returns its exit status."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        sys.exit(self._status(*args, **kwargs))

    def _status(self, *args: Any, **kwargs: Any) -> int:
        try:
            return int(super().main(*args, **kwargs) or _show.DONE)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return _show.BAD_INPUT
        except click.ClickException as error:
            _show.note(error.format_message())
            return error.exit_code
        except FerrymanError as error:
            _show.note(str(error))
            return _show.FAILED if isinstance(error, NOT_ABOUT_INPUT) else _show.BAD_INPUT
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except BrokenPipeError:
            # Who read our output has gone. Python must not try to flush the rest at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _show.DONE


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ferryman")
def main() -> None:
    """Carry calls to third parties through a durable queue.

    \b
    A first look, on this machine alone:
      ferryman up --sandbox
    and in another terminal:
      ferryman enqueue charge --wait --args '{"customer": "user-42", "amount": 1250,
        "currency": "usd", "payment_method": "pm_card_visa"}'
      ferryman jobs

    Commands about jobs talk to FERRYMAN_URL (with FERRYMAN_API_TOKEN), else to the database of
    FERRYMAN_DATABASE_URL, else to a running `ferryman up`. What changes a job, a batch or a vendor
    (retry, cancel, batch --pause …), suppressions, vendors and poll-events need an API.
    """


for command in (
    *(up, worker, api, flower, migrate, sandbox, health),
    *(enqueue, job, jobs, email, sms, track, contacts, batch, sync),
    *(retry, cancel, resolve, suppressions, vendors, vendor, poll_events),
):
    main.add_command(command)
