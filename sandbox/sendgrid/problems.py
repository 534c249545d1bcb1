"""How does SendGrid say what is wrong with a mail? A list of errors, each with its field."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from sandbox.vendor import Answer, json_answer

HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
NUMBERS = re.compile(r"\.\d+")


class Problem(NamedTuple):
    """`field` is a dotted path with numbers, `personalizations.0.to.3.email`; None: no field."""

    field: str | None
    message: str


def refused(status: int, problems: Iterable[Problem]) -> Answer:
    """The answer that names all problems."""
    errors = [
        {
            "message": problem.message,
            "field": problem.field,
            "help": problem.field and HELP + NUMBERS.sub("", problem.field),
        }
        for problem in problems
    ]
    return json_answer(status, {"errors": errors})
