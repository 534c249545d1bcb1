"""What `ferryman up` says when all is ready: where it is, and commands that work when pasted."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from worker.supervisor.up import BUCKET

ARGS = (
    '{"customer": "user-42", "amount": 1250, "currency": "usd", "payment_method": "pm_card_visa"}'
)
JOB = f'{{"kind": "charge", "args": {ARGS}}}'
MAIL = "--subject Hello --text 'Dear reader, …'"
# Whose payer has to agree on PayPal's page: the job waits, and its result has the link.
BY_PAYPAL = ARGS.replace("pm_card_visa", "paypal")


def banner(home: Path, state: dict[str, Any], *, with_token: bool) -> str:
    """The text. `state` is what `up.json` holds; `with_token`: the API asks for one."""
    command = f"FERRYMAN_HOME={shlex.quote(str(home))} {shlex.quote(str(_command()))}"
    return "\n".join(
        [
            "",
            f"ferryman is up. Ctrl-C stops it, or: kill {state['pid']}",
            "",
            f"  API      {state['api_url']}  {_who_may(with_token)}",
            f"  Flower   {state['flower_url']}  shows, changes nothing",
            f"  vendors  {_vendors(state)}",
            f"  logs     {home / 'logs'}",
            "",
            "For SQL, for Python applications elsewhere, and for foreign Celery apps:",
            "",
            f"  export FERRYMAN_DATABASE_URL={shlex.quote(state['database_url'])}",
            f"  export FERRYMAN_BROKER_URL={shlex.quote(state['broker_url'])}",
            "",
            "In another terminal:",
            "",
            f"  {command} enqueue charge --args {shlex.quote(ARGS)}",
            *_paypal(command, state),
            f"  {command} jobs",
            f"  {_curl(state['api_url'], with_token)}",
            "",
            "And to everyone in a CSV (docs/email.md):",
            "",
            f"  {command} email people.csv {MAIL}",
            "",
        ]
    )


def _command() -> Path:
    return Path(sys.executable).with_name("ferryman")


def _who_may(with_token: bool) -> str:
    if with_token:
        return "with a token of FERRYMAN_API_TOKEN"
    return "needs no token, since only this machine reaches it"


def _vendors(state: dict[str, Any]) -> str:
    if state["sandbox_url"] is None:
        return "the real ones, for which the environment has keys (--sandbox: fakes)"
    names = f"Stripe, PayPal, SendGrid and Twilio {state['sandbox_url']}"
    told = "fakes, which send webhooks; nothing leaves this machine"
    return f"{names}, S3 {state['s3_url']}/{BUCKET}  {told}"


def _paypal(command: str, state: dict[str, Any]) -> list[str]:
    """A payment that waits for its payer, where the fake PayPal can play him."""
    if state["sandbox_url"] is None:
        return []
    return [f"  {command} enqueue charge --vendor paypal --args {shlex.quote(BY_PAYPAL)}"]


def _curl(api_url: str, with_token: bool) -> str:
    token = '-H "Authorization: Bearer ${FERRYMAN_API_TOKEN%%,*}" ' if with_token else ""
    head = f"curl -sS {api_url}/v1/jobs {token}-H 'Content-Type: application/json'"
    return f"{head} -d {shlex.quote(JOB)}"
