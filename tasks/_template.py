"""A letter filled in for one recipient, by Jinja in its sandbox. What is missing is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapters._mail import Letter
from tasks._base import Refusal

PARTS = ("subject", "text", "html")


def fill(letter: Letter, data: Mapping[str, Any]) -> Letter:
    """The letter with its placeholders filled. Raises Refusal naming the part that cannot be."""
    given = {name: getattr(letter, name) for name in PARTS}
    filled = {name: _render(name, text, data) for name, text in given.items() if text is not None}
    if (subject := filled.get("subject")) is not None and not is_one_line(subject):
        raise refusal("subject", "must be one line once it is filled in")
    return replace(letter, **filled)


def is_one_line(subject: str) -> bool:
    """Whether it may stand in a mail's head: one line, and not an empty one."""
    return subject.splitlines() == [subject]


def refusal(part: str, message: str) -> Refusal:
    return Refusal("invalid_arguments", f"{part}: {message}")


def _render(part: str, source: str, data: Mapping[str, Any]) -> str:
    try:
        filled = _template(source, escapes=part == "html").render(data)
    except TemplateSyntaxError as error:
        raise refusal(part, f"line {error.lineno} is not a template that Jinja reads") from None
    except Exception:
        # Whatever happens in there is the template's doing; Jinja's own words may quote the data.
        raise refusal(part, _why_not(source, data)) from None
    if not filled.strip():
        raise refusal(part, "is empty once it is filled in")
    return filled


def _why_not(source: str, data: Mapping[str, Any]) -> str:
    named = find_undeclared_variables(_environment(escapes=False).parse(source))
    if missing := sorted(named - set(data)):
        return f"data has no `{missing[0]}`"
    return "cannot be filled in with this data"


@lru_cache(maxsize=64)
def _template(source: str, *, escapes: bool) -> Template:
    return _environment(escapes=escapes).from_string(source)


@lru_cache
def _environment(*, escapes: bool) -> Environment:
    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=escapes, keep_trailing_newline=True
    )
    # Jinja's own `range`, `dict` … would stand in for data that is missing under such a name.
    made.globals.clear()
    return made
