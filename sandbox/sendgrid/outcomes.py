"""What becomes of a mail? The recipient's address decides, by how it begins; and how it is told.

Facts: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IP = "127.0.0.1"
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) Sandbox/1.0"
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The events of one mail, in order, and the suppression list that its recipient gets onto."""

    events: tuple[str, ...]
    list: str | None = None


SENT = Outcome(("processed", "delivered"))
OUTCOMES: Mapping[str, Outcome] = {
    "bounce": Outcome(("processed", "bounce"), "bounces"),
    "blocked": Outcome(("processed", "blocked"), "blocks"),
    "deferred": Outcome(("processed", "deferred", "delivered")),
    "spam": Outcome(("processed", "delivered", "spamreport"), "spam_reports"),
    "unsubscribe": Outcome(("processed", "delivered", "unsubscribe"), "unsubscribes"),
    "open": Outcome(("processed", "delivered", "open")),
    "click": Outcome(("processed", "delivered", "open", "click")),
}
BOUNCED = {
    "reason": "550 5.1.1 The email account that you tried to reach does not exist.",
    "status": "5.1.1",
    "bounce_classification": "Invalid Address",
    "type": "bounce",
    "ip": IP,
    "tls": 1,
}
BLOCKED = {
    "reason": "550 5.7.1 Message blocked: the sender's address is on a list of spammers.",
    "status": "5.7.1",
    "bounce_classification": "Reputation",
    "type": "blocked",
    "ip": IP,
    "tls": 1,
}
READ = {"useragent": USER_AGENT, "ip": IP}
DETAILS: Mapping[str, Facts] = {
    "processed": {},
    "dropped": {},
    "deferred": {
        "response": "451 4.3.0 Mail server temporarily rejected message",
        "attempt": "1",
        "ip": IP,
        "tls": 1,
    },
    "delivered": {"response": "250 2.0.0 OK", "ip": IP, "tls": 1},
    "bounce": BOUNCED,
    "blocked": BLOCKED,
    "spamreport": {},
    "unsubscribe": {},
    "open": {**READ, "sg_machine_open": False, "sg_content_type": "html"},
    "click": {
        **READ,
        "url": "https://shop.example.com/news",
        "url_offset": {"index": 0, "type": "html"},
    },
}
NAMES = {"blocked": "bounce"}
"""As what an event is told, where it has another name than here."""
BY_READER = ("open", "click")
"""Their events name no `smtp-id`."""
_BEGINS = tuple(OUTCOMES)


def special(address: str) -> Outcome | None:
    """The outcome that an address asks for; None: it is an ordinary one."""
    written = address.lower()
    if not written.startswith(_BEGINS):
        return None
    return next(outcome for begin, outcome in OUTCOMES.items() if written.startswith(begin))


@dataclass(frozen=True)
class Message:
    """One accepted request: the `X-Message-Id`, the time, and its categories."""

    id: str
    at: int
    categories: list[str] = field(default_factory=list)

    def event_id(self, what: str, place: int) -> str:
        return event_id(f"{what}-{place}-{self.id}")

    def event(self, what: str, place: int, to: str, own: Facts, **more: Any) -> dict[str, Any]:
        """What happened to the mail at this place of its request. `own` are its custom arguments;
        where they are named like something of the event, they are lost."""
        head = {
            "email": to,
            "timestamp": self.at,
            "event": NAMES.get(what, what),
            "sg_event_id": self.event_id(what, place),
            "sg_message_id": f"{self.id}.recvd-sandbox-{place}-0",
        }
        if what not in BY_READER:
            head["smtp-id"] = f"<{self.id}@geopod-ismtpd-sandbox>"
        if self.categories:
            head["category"] = self.categories
        return {**own, **head, **DETAILS[what], **more}


def event_id(text: str) -> str:
    """In the form that SendGrid's have."""
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")
