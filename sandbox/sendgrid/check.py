"""What is wrong with a mail? First a quick look, since a thousand personalizations are mostly fine.

A personalization that the quick look passes has one recipient and nothing out of the ordinary;
every other one is looked at closely, and only that look says what is wrong.
"""

import re
from collections.abc import Iterator
from typing import Any

from sandbox.sendgrid import rules, shape
from sandbox.sendgrid.problems import Problem

PEOPLE = "personalizations"
HARMLESS_HEADERS = frozenset(("List-Unsubscribe", "List-Unsubscribe-Post"))
PLAIN = re.compile(
    r"(?!refuse)[a-z0-9._+-]{1,64}@(?:[a-z0-9]+(?:-+[a-z0-9]+)*\.)+[a-z0-9]{2,}", re.I | re.A
)
USUAL = frozenset(("to", "subject", "headers", "dynamic_template_data", "custom_args"))
MOST_BYTES_A_CHARACTER = 4
NONE: dict[str, Any] = {}


def problems(mail: dict[str, Any], now: float) -> list[Problem]:
    """Everything: first what is not of the form; only where all is, what is against the rules."""
    people = mail.get(PEOPLE)
    if not isinstance(people, list):
        return list(shape.problems(shape.MAIL, mail))
    room = rules.MOST_BYTES // MOST_BYTES_A_CHARACTER - _length(mail.get("custom_args"))
    doubtful = [(place, one) for place, one in enumerate(people) if not _is_plain(one, room)]
    wrong = list(shape.problems(shape.MAIL, mail | {PEOPLE: []})) + list(_forms(doubtful))
    return wrong or list(rules.problems(mail, doubtful, now))


def _forms(doubtful: list[tuple[int, Any]]) -> Iterator[Problem]:
    for place, one in doubtful:
        yield from shape.problems(shape.PERSONALIZATION, one, f"{PEOPLE}.{place}")


def _length(values: Any) -> int:
    """Characters in an object of texts; of anything else, so many that nothing passes."""
    if values is None:
        return 0
    length = _characters(values)
    return rules.MOST_BYTES if length is None else length


def _characters(values: Any) -> int | None:
    if type(values) is not dict:
        return None
    length = 0
    for name, value in values.items():
        if type(value) is not str:
            return None
        length += len(name) + len(value)
    return length


def _is_plain(one: Any, room: int) -> bool:
    """Whether it is certainly fine. `room`: how many characters its custom arguments may have."""
    if type(one) is not dict or not one.keys() <= USUAL or not _is_one_address(one.get("to")):
        return False
    length = _characters(one.get("custom_args", NONE))
    return (
        length is not None
        and length <= room
        and type(one.get("dynamic_template_data", NONE)) is dict
        and _is_line(one.get("subject", ""))
        and _are_harmless(one.get("headers", NONE))
    )


def _is_one_address(people: Any) -> bool:
    if type(people) is not list or len(people) != 1:
        return False
    person = people[0]
    if type(person) is not dict or len(person) > 1 + ("name" in person):
        return False
    email = person.get("email")
    return (
        type(email) is str
        and PLAIN.fullmatch(email) is not None
        and type(person.get("name", "")) is str
    )


def _are_harmless(headers: Any) -> bool:
    if type(headers) is not dict or not headers.keys() <= HARMLESS_HEADERS:
        return False
    for value in headers.values():  # noqa: SIM110 - a generator would take twice the time
        if not _is_line(value):
            return False
    return True


def _is_line(text: Any) -> bool:
    return type(text) is str and "\n" not in text and "\r" not in text
