"""Has a mail the form that SendGrid documents? Names, types and required fields.

In a form a name with `*` is required, a list holds one kind of item, `Values` is an object with
names of the sender's own choosing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.sendgrid.problems import Problem


@dataclass(frozen=True, slots=True)
class Values:
    """An object of any names, whose values are all of this form."""

    form: Any


Form = type | Mapping[str, Any] | list[Any] | Values

WORDS = {str: "string", int: "integer", bool: "boolean", float: "number", type(None): "null"}

ADDRESS = {"email*": str, "name": str}
SWITCH = {"enable": bool}
PERSONALIZATION = {
    "to*": [ADDRESS],
    "cc": [ADDRESS],
    "bcc": [ADDRESS],
    "from": ADDRESS,
    "subject": str,
    "headers": Values(str),
    "substitutions": Values(str),
    "dynamic_template_data": Values(object),
    "custom_args": Values(str),
    "send_at": int,
}
MAIL = {
    "personalizations*": [PERSONALIZATION],
    "from*": ADDRESS,
    "reply_to": ADDRESS,
    "reply_to_list": [ADDRESS],
    "subject": str,
    "content": [{"type*": str, "value*": str}],
    "attachments": [
        {
            "content*": str,
            "filename*": str,
            "type": str,
            "disposition": str,
            "content_id": str,
        }
    ],
    "template_id": str,
    "headers": Values(str),
    "categories": [str],
    "custom_args": Values(str),
    "send_at": int,
    "batch_id": str,
    "asm": {"group_id*": int, "groups_to_display": [int]},
    "ip_pool_name": str,
    "mail_settings": {
        "bypass_bounce_management": SWITCH,
        "bypass_list_management": SWITCH,
        "bypass_spam_management": SWITCH,
        "bypass_unsubscribe_management": SWITCH,
        "footer": SWITCH | {"text": str, "html": str},
        "sandbox_mode": SWITCH,
    },
    "tracking_settings": {
        "click_tracking": SWITCH | {"enable_text": bool},
        "ganalytics": SWITCH
        | {f"utm_{name}": str for name in ("source", "medium", "term", "content", "campaign")},
        "open_tracking": SWITCH | {"substitution_tag": str},
        "subscription_tracking": SWITCH | {"text": str, "html": str, "substitution_tag": str},
    },
}


def problems(form: Any, value: Any, field: str = "") -> Iterator[Problem]:
    """Everything that is not of the form, by field."""
    match form:
        case Values():
            yield from _values(form.form, value, field)
        case list():
            yield from _items(form[0], value, field)
        case Mapping():
            yield from _object(form, value, field)
        case _:
            # True is an int to Python, but not to SendGrid.
            if not isinstance(value, form) or (form is int and isinstance(value, bool)):
                yield _wrong(field, WORDS[form], value)


def _wrong(field: str, expected: str, value: Any) -> Problem:
    given = "object" if isinstance(value, dict) else WORDS.get(type(value), "array")
    return Problem(field or None, f"Invalid type. Expected: {expected}, given: {given}.")


def _inside(field: str, name: str | int) -> str:
    return f"{field}.{name}" if field else str(name)


def _values(form: Any, value: Any, field: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield _wrong(field, "object", value)
        return
    for name, inner in value.items():
        yield from problems(form, inner, _inside(field, name))


def _items(form: Any, value: Any, field: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield _wrong(field, "array", value)
        return
    for place, inner in enumerate(value):
        yield from problems(form, inner, _inside(field, place))


def _object(form: Mapping[str, Any], value: Any, field: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield _wrong(field, "object", value)
        return
    for name, inner in value.items():
        its_form = form.get(name, form.get(f"{name}*"))
        if its_form is None:
            yield Problem(_inside(field, name), f"Additional property {name} is not allowed")
        else:
            yield from problems(its_form, inner, _inside(field, name))
    for name in form:
        if name.endswith("*") and name[:-1] not in value:
            yield Problem(_inside(field, name[:-1]), f"The {name[:-1]} field is required.")
