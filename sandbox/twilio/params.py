"""Are a request's parameters such as Twilio takes? Names and types, as its contract has them.

Twilio itself overlooks names that it does not know; here they are refused, since to send one is
always a mistake.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from sandbox.twilio.errors import Refused, invalid

Check = Callable[[str], bool]
Given = dict[str, str]

NUMBER = re.compile(r"\+[1-9]\d{6,14}")
INTEGER = re.compile(r"-?\d{1,18}")
DECIMAL = re.compile(r"\d{1,12}(\.\d{1,6})?")
MOST_URL = 4000
SEVERAL = frozenset({"MediaUrl", "PersistentAction"})
"""These may come more than once."""
MOST_MEDIA = 10


def anything(value: str) -> bool:
    return True


def sid(prefix: str) -> Check:
    shape = re.compile(f"{prefix}[0-9a-fA-F]{{32}}")
    return lambda value: shape.fullmatch(value) is not None


def one_of(*words: str) -> Check:
    return words.__contains__


def matching(shape: re.Pattern[str]) -> Check:
    return lambda value: shape.fullmatch(value) is not None


def between(least: int, most: int | None = None) -> Check:
    def is_between(value: str) -> bool:
        found = INTEGER.fullmatch(value) is not None
        return found and least <= int(value) and (most is None or int(value) <= most)

    return is_between


def url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises for what is none
    except ValueError:
        return False
    host = parts.hostname or ""
    whole = parts.scheme in ("http", "https") and bool(host) and "_" not in host
    return whole and len(value) <= MOST_URL and " " not in value


def moment(value: str) -> bool:
    """A day, or a day and a time, in ISO 8601."""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


flag = one_of("true", "false")

CREATE: dict[str, Check] = {
    "AddressRetention": one_of("retain", "obfuscate"),
    "ApplicationSid": sid("AP"),
    "Attempt": matching(INTEGER),
    "Body": anything,
    "ContentRetention": one_of("retain", "discard"),
    "ContentSid": sid("HX"),
    "ContentVariables": anything,
    "FallbackFrom": matching(NUMBER),
    "ForceDelivery": flag,
    "From": anything,
    "MaxPrice": matching(DECIMAL),
    "MediaUrl": url,
    "MessagingServiceSid": sid("MG"),
    "PersistentAction": anything,
    "ProvideFeedback": flag,
    "RiskCheck": one_of("enable", "disable"),
    "ScheduleType": one_of("fixed"),
    "SendAsMms": flag,
    "SendAt": moment,
    "ShortenUrls": flag,
    "SmartEncoded": flag,
    "StatusCallback": anything,
    "To": anything,
    "TrafficType": one_of("free"),
    "ValidityPeriod": matching(INTEGER),
}
LIST: dict[str, Check] = {
    "To": anything,
    "From": anything,
    "DateSent": moment,
    "DateSent<": moment,
    "DateSent>": moment,
    "PageSize": between(1, 1000),
    "Page": between(0),
    "PageToken": anything,
}


def pairs(text: str) -> list[tuple[str, str]]:
    """The names and values of a form. Raises Refused for what is none."""
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        raise Refused(20001, "Invalid Parameter: the form cannot be read") from None


def check(schema: dict[str, Check], form: Iterable[tuple[str, str]]) -> Given:
    """The parameters by name; what has no value counts as not given. Raises Refused."""
    given: Given = {}
    media = 0
    for name, value in form:
        if name not in schema:
            raise invalid(name, "there is none of that name")
        if name in given and name not in SEVERAL:
            raise invalid(name, "it is given twice")
        media += name == "MediaUrl"
        if media > MOST_MEDIA:
            raise Refused(21623, f"Number of media files exceeds allowed limit of {MOST_MEDIA}")
        if value and not schema[name](value):
            raise invalid(name, "it is not of its type")
        if value:
            given[name] = value
    return given
