"""Is a well-formed mail one that SendGrid takes? Limits, and what must go together.

Facts: https://docs.sendgrid.com/api-reference/mail-send/errors and /limitations.
"""

import base64
import re
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sandbox.sendgrid.problems import Problem

MOST_PERSONALIZATIONS = 1000
MOST_RECIPIENTS = 1000
MOST_CATEGORIES = 10
LONGEST_CATEGORY = 255
MOST_BYTES = 10_000
"""Of custom arguments, and of substitutions, per personalization."""
FURTHEST_AHEAD_SECONDS = 72 * 3600
ADDRESS = re.compile(
    r"[^\s@<>(),;:\"\[\]\x7f-\U0010ffff]{1,64}@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,}",
    re.I | re.A,
)
REFUSED = re.compile("refuse", re.I)
"""How an address begins that is refused here though it is a valid one."""
LINE_END = re.compile(r"[\r\n]")
HEADER_NAME = re.compile(r"[!-9;-~]+")
RESERVED_HEADERS = re.compile(
    "x-sg-id|x-sg-eid|received|dkim-signature|content-type|content-transfer-encoding|to|from"
    "|subject|reply-to|cc|bcc",
    re.I,
)
NO_CONTENT = (
    "Unless a valid template_id is provided, the content parameter is required. There must be at"
    " least one defined content block. We typically suggest both text/plain and text/html blocks"
    " are included, but only one block is required."
)
NO_SUBJECT = (
    "The subject is required. You can get around this requirement if you use a template with a"
    " subject defined or if every personalization has a subject defined."
)
NO_RECIPIENT = (
    "The to array is required for all personalization objects, and must have at least one email"
    " object with a valid email address."
)
Mail = dict[str, Any]


def problems(mail: Mail, doubtful: Sequence[tuple[int, Mail]], now: float) -> Iterator[Problem]:
    """Everything that SendGrid refuses in a mail of the right form. `doubtful`: the
    personalizations with their places, but for those with one recipient that are certainly fine."""
    yield from _people(mail, doubtful)
    for rule in RULES:
        yield from rule(mail)
    yield from _send_at(mail, "send_at", now)
    for place, one in doubtful:
        field = f"personalizations.{place}"
        yield from _personalization(mail, one, field)
        yield from _send_at(one, f"{field}.send_at", now)


def _people(mail: Mail, doubtful: Sequence[tuple[int, Mail]]) -> Iterator[Problem]:
    many = len(mail["personalizations"])
    recipients = many - len(doubtful) + sum(len(addressed(one)) for _, one in doubtful)
    if not many:
        yield Problem(
            "personalizations",
            "The personalizations field is required and must have at least one personalization.",
        )
    if many > MOST_PERSONALIZATIONS:
        yield Problem(
            "personalizations",
            f"The number of personalizations may not exceed {MOST_PERSONALIZATIONS}.",
        )
    if recipients > MOST_RECIPIENTS:
        yield Problem(
            "personalizations",
            f"The total number of recipients in a request must be less than {MOST_RECIPIENTS + 1}.",
        )


def addressed(one: Mail) -> list[tuple[str, str]]:
    """Whom a personalization goes to: `to`, `cc` or `bcc`, and the address."""
    return [(way, to["email"]) for way in ("to", "cc", "bcc") for to in one.get(way, [])]


def _sender(mail: Mail) -> Iterator[Problem]:
    if not ADDRESS.fullmatch(mail["from"]["email"]):
        yield Problem("from.email", "The from email does not contain a valid address.")
    if "reply_to" in mail and "reply_to_list" in mail:
        yield Problem("reply_to_list", "Only one of reply_to and reply_to_list may be used.")
    if "reply_to" in mail and not ADDRESS.fullmatch(mail["reply_to"]["email"]):
        yield Problem("reply_to.email", "The reply_to email does not contain a valid address.")


def _subject(mail: Mail) -> Iterator[Problem]:
    if not (mail.get("subject") or "template_id" in mail or _everywhere(mail, "subject")):
        yield Problem("subject", NO_SUBJECT)
    if LINE_END.search(mail.get("subject", "")):
        yield Problem("subject", "The subject cannot contain CR or LF characters.")


def _everywhere(mail: Mail, name: str) -> bool:
    return all(one.get(name) for one in mail["personalizations"])


def _content(mail: Mail) -> Iterator[Problem]:
    content = mail.get("content", [])
    if not content and "template_id" not in mail:
        yield Problem("content", NO_CONTENT)
    for place, block in enumerate(content):
        if not block["value"]:
            yield Problem(
                f"content.{place}.value",
                "The content value must be a string at least one character in length.",
            )
        if not block["type"] or re.search(r"[;\r\n]", block["type"]):
            yield Problem(
                f"content.{place}.type", "The content type cannot contain ';', or CRLF characters."
            )
    types = [block["type"] for block in content]
    if "text/plain" in types[1:]:
        yield Problem("content", "The text/plain content must come first.")


def _extras(mail: Mail) -> Iterator[Problem]:
    categories = mail.get("categories", [])
    if len(categories) > MOST_CATEGORIES or len(set(categories)) < len(categories):
        yield Problem("categories", f"At most {MOST_CATEGORIES} categories, each only once.")
    if any(len(category) > LONGEST_CATEGORY for category in categories):
        yield Problem("categories", f"A category has at most {LONGEST_CATEGORY} characters.")
    if len(mail.get("asm", {}).get("groups_to_display", [])) > 25:
        yield Problem("asm.groups_to_display", "At most 25 groups can be displayed.")
    if "ip_pool_name" in mail and not 2 <= len(mail["ip_pool_name"]) <= 64:
        yield Problem("ip_pool_name", "The ip_pool_name has 2 to 64 characters.")
    yield from _headers(mail, "headers")


def _attachments(mail: Mail) -> Iterator[Problem]:
    for place, one in enumerate(mail.get("attachments", [])):
        field = f"attachments.{place}"
        if not _is_base64(one["content"]):
            yield Problem(f"{field}.content", "The attachment content must be base64 encoded.")
        if one.get("disposition", "attachment") not in ("inline", "attachment"):
            yield Problem(f"{field}.disposition", "Either inline or attachment.")


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except NotBase64:
        return False


def _headers(mail: Mail, field: str) -> Iterator[Problem]:
    for name, value in mail.get("headers", {}).items():
        if RESERVED_HEADERS.fullmatch(name):
            yield Problem(f"{field}.{name}", f"The header {name} is reserved.")
        if not HEADER_NAME.fullmatch(name):
            yield Problem(f"{field}.{name}", "This is no name of a header.")
        if LINE_END.search(name + value):
            yield Problem(f"{field}.{name}", "Headers cannot contain CR or LF characters.")


def _personalization(mail: Mail, one: Mail, field: str) -> Iterator[Problem]:
    if not one["to"]:
        yield Problem(f"{field}.to", NO_RECIPIENT)
    yield from _addresses(one, field)
    if LINE_END.search(one.get("subject", "")):
        yield Problem(f"{field}.subject", "The subject cannot contain CR or LF characters.")
    if "substitutions" in one and mail.get("template_id", "").startswith("d-"):
        yield Problem(
            f"{field}.substitutions", "Substitutions may not be used with dynamic templating"
        )
    arguments = mail.get("custom_args", {}) | one.get("custom_args", {})
    for name, values in (("custom_args", arguments), ("substitutions", one.get("substitutions"))):
        if values and _bytes(values) > MOST_BYTES:
            yield Problem(f"{field}.{name}", f"The {name} may not exceed {MOST_BYTES} bytes.")
    yield from _headers(one, f"{field}.headers")


def _addresses(one: Mail, field: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for way in ("to", "cc", "bcc"):
        for place, to in enumerate(one.get(way, [])):
            if not ADDRESS.fullmatch(to["email"]) or (way == "to" and REFUSED.match(to["email"])):
                yield Problem(f"{field}.{way}.{place}.email", "Does not contain a valid address.")
            if to["email"].lower() in seen:
                yield Problem(field, _twice(to["email"], f"{field}.{way}"))
            seen.add(to["email"].lower())


def _twice(address: str, field: str) -> str:
    return (
        "Each email address in the personalization block should be unique between to, cc, and bcc."
        f" We found the first duplicate instance of [{address}] in the {field} field."
    )


def _bytes(values: dict[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in values.items())


def _send_at(where: Mail, field: str, now: float) -> Iterator[Problem]:
    if where.get("send_at", 0) > now + FURTHEST_AHEAD_SECONDS:
        yield Problem(field, "Scheduling more than 72 hours in advance is forbidden.")


RULES: tuple[Callable[[Mail], Iterator[Problem]], ...] = (
    _sender,
    _subject,
    _content,
    _extras,
    _attachments,
)
