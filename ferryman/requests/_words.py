"""A validation error in plain English: which field, and what it must be. Values are never named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from ferryman.errors import InvalidArguments

# By pydantic's name of the problem; the braces are filled from its context.
_WORDS = {
    "missing": "is required",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "bool_type": "must be true or false",
    "dict_type": "must be an object of names and values",
    "model_type": "must be an object of names and values",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "value_error": "{error}",
}
_LONGEST_FIELD = 200


def first_problem(error: ValidationError, names: Collection[str]) -> InvalidArguments:
    """The first problem of a request whose arguments have these names.

    An unknown argument comes before all else: it often is the missing one, misspelt.
    """
    found = error.errors(include_url=False, include_input=False)
    found.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    problem = found[0]
    location = [part for part in problem["loc"] if part != "[key]"]
    if problem["type"] == "extra_forbidden":
        message = unknown(str(location[-1]), names if len(location) == 1 else ())
    else:
        message = _message(problem["type"], problem.get("ctx", {}))
    return InvalidArguments(field(location), message)


def field(path: Collection[str | int]) -> str:
    """A dotted path that is safe to print: names come from outside, too."""
    dotted = ".".join(str(part) for part in path)
    clean = "".join(letter if letter.isprintable() else "?" for letter in dotted)
    return clean[:_LONGEST_FIELD]


def unknown(name: str, names: Collection[str]) -> str:
    """What to say about an argument that does not exist."""
    if close := get_close_matches(name, names, n=1):
        return f"is not an argument here; did you mean `{close[0]}`?"
    return "is not an argument here" + (f"; there are {', '.join(names)}" if names else "")


def _message(problem: str, context: Mapping[str, Any]) -> str:
    return _WORDS.get(problem, "is not acceptable").format(**context)
