"""May this message be sent? Twilio's rules, its test numbers, and who has asked for no more.

Facts: https://www.twilio.com/docs/iam/test-credentials#test-sms-messages
"""

import re

from sandbox.twilio import params
from sandbox.twilio.errors import Refused
from sandbox.twilio.params import NUMBER, Given

SENDER = "+15005550006"
LONGEST_BODY = 1600
SHORT_CODE = re.compile(r"\d{3,8}")
NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
NO_SERVICE = "MG" + "0" * 32

# Twilio's own test numbers.
SENDERS = {
    "+15005550001": (21212, "Invalid From Number (caller ID): {}"),
    "+15005550007": (
        21606,
        "The From phone number {} is not a valid, SMS-capable inbound phone number or short code"
        " for your account.",
    ),
    "+15005550008": (
        21611,
        "This 'From' number has exceeded the maximum number of queued messages",
    ),
}
RECIPIENTS = {
    "+15005550001": (21211, "The 'To' number {} is not a valid phone number."),
    "+15005550002": (21612, "The 'To' phone number: {}, is not currently reachable via SMS."),
    "+15005550003": (
        21408,
        "Permission to send an SMS has not been enabled for the region indicated by the 'To'"
        " number: {}.",
    ),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient {}"),
    "+15005550009": (21614, "To number: {}, is not a mobile number"),
}


def check(given: Given, own: frozenset[str], silent: frozenset[str]) -> None:
    """`own`: the account's numbers; `silent`: who has asked for no more. Raises Refused."""
    to = given.get("To")
    if to is None:
        raise Refused(21604, "A 'To' phone number is required.")
    _sender(given, own)
    _recipient(to, silent)
    _content(given)
    callback = given.get("StatusCallback")
    if callback is not None and not params.url(callback):
        raise Refused(21609, f"The StatusCallback URL {callback} is not a valid URL.")


def _sender(given: Given, own: frozenset[str]) -> None:
    if given.get("MessagingServiceSid") == NO_SERVICE:
        raise Refused(21701, "The Messaging Service does not exist.")
    sender = given.get("From")
    if sender is None and "MessagingServiceSid" in given:
        return
    if sender is None:
        raise Refused(21603, "A 'From' phone number is required.")
    if not any(shape.fullmatch(sender) for shape in (NUMBER, SHORT_CODE, NAME)):
        raise Refused(21212, f"Invalid From Number (caller ID): {sender}")
    if sender not in own:
        code, message = SENDERS.get(sender, SENDERS["+15005550007"])
        raise Refused(code, message.format(sender))


def _recipient(to: str, silent: frozenset[str]) -> None:
    known = RECIPIENTS.get(to)
    if known is None and not NUMBER.fullmatch(to):
        known = RECIPIENTS["+15005550001"]
    if known is None and to in silent:
        known = RECIPIENTS["+15005550004"]
    if known is not None:
        code, message = known
        raise Refused(code, message.format(to))


def _content(given: Given) -> None:
    if not given.keys() & {"Body", "MediaUrl", "ContentSid"}:
        raise Refused(21602, "Message body is required.")
    if len(given.get("Body", "")) > LONGEST_BODY:
        raise Refused(21617, "The concatenated message body exceeds the 1600 character limit.")
