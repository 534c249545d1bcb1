"""What do the people do whom messages go to, and their carriers? For tests."""

from collections.abc import Callable
from typing import Any

from sandbox.twilio.account import Account
from sandbox.twilio.params import NUMBER
from sandbox.twilio.shapes import Shape, message
from sandbox.vendor import UnknownAction

STATUSES = ("sending", "sent", "delivered", "undelivered", "failed", "canceled", "read")


def act(account: Account, action: str, arguments: dict[str, Any]) -> Shape:
    """Raises UnknownAction, also for arguments that are not the action's."""
    if action not in ACTIONS:
        raise UnknownAction(f"twilio has no action {action!r}; there are {', '.join(ACTIONS)}")
    try:
        return ACTIONS[action](account, **arguments)
    except (TypeError, ValueError) as error:
        raise UnknownAction(f"{action}: {error}") from None


def settle(
    account: Account, *, message: str, status: str = "delivered", error_code: int | None = None
) -> Shape:
    """A carrier tells what became of a message."""
    row = account.messages.get(message)
    if row is None or status not in STATUSES:
        raise ValueError(f"a message is expected, and one of {', '.join(STATUSES)}")
    account.move(row, status, error_code)
    return _shown(account, row.id)


def receive(account: Account, *, number: str, body: str) -> Shape:
    """Somebody writes to us: STOP, perhaps, or START."""
    return _shown(account, account.receive(_number(number), body).id)


def opt_out(account: Account, *, number: str) -> Shape:
    """Somebody has asked for no more, some time ago."""
    account.opt_out(_number(number))
    return {"number": number}


def sender(account: Account, *, number: str) -> Shape:
    """The account has one more number to send from."""
    account.settings.own.add(_number(number))
    return {"numbers": sorted(account.settings.own)}


def settings(account: Account, *, hold: bool | None = None) -> Shape:
    """Whether messages stay queued until they are settled."""
    if hold is not None:
        account.settings.hold = hold
    return {"hold": account.settings.hold}


def _number(given: str) -> str:
    if not NUMBER.fullmatch(given):
        raise ValueError("a number such as +441632960961 is expected")
    return given


def _shown(account: Account, id: str) -> Shape:
    return message(account, account.messages.rows[id])


ACTIONS: dict[str, Callable[..., Shape]] = {
    "opt_out": opt_out,
    "receive": receive,
    "sender": sender,
    "settings": settings,
    "settle": settle,
}
