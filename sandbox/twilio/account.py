"""What does one Twilio account hold? Its messages, numbers, and who has asked for no more."""

import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from sandbox.store import Table
from sandbox.twilio import rules, segments
from sandbox.twilio.params import Given
from sandbox.vendor import World

# By its last four digits, what becomes of a message to a number.
DELIVERED = ("sent", "delivered")
ENDINGS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "0990": (("sent", "undelivered"), 30005),
    "0991": (("failed",), 30008),
    "0992": (("sent", "undelivered"), 30006),
    "0993": (("sent", "undelivered"), 30003),
    "0994": (("sent",), None),
    "0995": ((), None),
}
ENDED = ("delivered", "undelivered", "failed", "canceled")
STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START = frozenset({"START", "YES", "UNSTOP"})


@dataclass(slots=True)
class Message:
    """One text message, of us or to us. `sender` is not chosen yet, while a messaging service
    (`service`) has to; `callback`: whom to tell what becomes of it."""

    id: str
    created: float
    to: str
    sender: str | None
    body: str
    direction: str = "outbound-api"
    status: str = "queued"
    service: str | None = None
    callback: str | None = None
    parts: int = 1
    media: int = 0
    sent: float | None = None
    updated: float = 0.0
    error_code: int | None = None


@dataclass(slots=True)
class OptOut:
    """A number that has asked for no more messages."""

    id: str
    asked: bool = True


@dataclass(slots=True)
class Settings:
    """`hold`: messages stay queued until they are settled."""

    hold: bool = False
    own: set[str] = field(default_factory=lambda: {rules.SENDER})


class Account:
    """One account."""

    def __init__(self, world: World, sid: str) -> None:
        self.sid = sid
        self.settings = Settings()
        self.messages = Table(world.journal, "twilio.messages", Message)
        self._opt_outs = Table(world.journal, "twilio.opt_outs", OptOut)
        self._world = world

    def check(self, given: Given) -> None:
        """Raises Refused for what Twilio would not send."""
        silent = frozenset(one.id for one in self._opt_outs.rows.values() if one.asked)
        rules.check(given, frozenset(self.settings.own), silent)

    def create(self, given: Given) -> Message:
        """A message that waits to be sent."""
        service = given.get("MessagingServiceSid")
        row = Message(
            id=self._world.ids.new("SM", 32),
            created=time.time(),
            to=given["To"],
            sender=given.get("From"),
            body=given.get("Body", ""),
            status="accepted" if service else "queued",
            service=service,
            callback=given.get("StatusCallback"),
            parts=segments.count(given.get("Body", "")),
            media=int("MediaUrl" in given),
        )
        row.updated = row.created
        facts = {"to": row.to, "sender": row.sender or service, "body": row.body}
        cause = {"metadata": {"job": named}} if (named := _named(row.callback)) else {}
        self._world.effects.record("twilio", "message", row.id, **facts, **cause)
        return self.messages.put(row)

    def go_on(self, row: Message) -> None:
        """What becomes of it, all at once: here no carrier takes its time."""
        self._tell(row)
        if self.settings.hold:
            return
        steps, error = ENDINGS.get(row.to[-4:], (DELIVERED, None))
        for step in steps:
            self.move(row, step, error if step in ENDED else None)

    def move(self, row: Message, status: str, error_code: int | None = None) -> None:
        """A message comes to stand so, and whom it concerns is told."""
        row.updated = time.time()
        row.status, row.error_code = status, error_code
        row.sender = row.sender or min(self.settings.own)
        if row.sent is None and status != "canceled":
            row.sent = row.updated
        self.messages.put(row)
        self._tell(row)

    def receive(self, number: str, body: str) -> Message:
        """Somebody writes to us, perhaps that he wants no more."""
        row = Message(
            id=self._world.ids.new("SM", 32),
            created=time.time(),
            to=min(self.settings.own),
            sender=number,
            body=body,
            direction="inbound",
            status="received",
            parts=segments.count(body),
        )
        row.sent = row.updated = row.created
        self.messages.put(row)
        word = body.strip().upper()
        if word in STOP or word in START:
            self.opt_out(number, asked=word in STOP)
        self._send(row, {"SmsStatus": "received", "Body": body, "NumSegments": str(row.parts)})
        return row

    def opt_out(self, number: str, *, asked: bool = True) -> None:
        self._opt_outs.put(OptOut(number, asked))

    def _tell(self, row: Message) -> None:
        if row.callback is None:
            return
        told = {"SmsStatus": row.status, "MessageStatus": row.status}
        if row.service:
            told["MessagingServiceSid"] = row.service
        if row.error_code is not None:
            told["ErrorCode"] = str(row.error_code)
        self._send(row, told)

    def _send(self, row: Message, told: dict[str, str]) -> None:
        form = {
            "AccountSid": self.sid,
            "ApiVersion": "2010-04-01",
            "From": row.sender or "",
            "MessageSid": row.id,
            "SmsMessageSid": row.id,
            "SmsSid": row.id,
            "To": row.to,
        }
        event = f"{row.id}:{row.status}"
        body = urlencode(form | told).encode()
        self._world.webhooks.send("twilio", event, body, url=row.callback, type=row.status)


def _named(callback: str | None) -> str | None:
    """The job that the caller means, where its address for the status names it: Twilio itself has
    no place for that."""
    return parse_qs(urlsplit(callback or "").query).get("message", [None])[0]
