"""Is this text a telephone number in E.164, and how is it written in one way only?"""

from __future__ import annotations

import re

# As people write them in lists; letters and extensions are not for text messages.
_WRITTEN = re.compile(r"\+[0-9][0-9 ().-]{5,30}")


def normalised(number: str) -> str:
    """The number as `+` and digits.

    Whether a number of its length can exist in its country is checked, not whether it does: the
    tables of numbers are always older than the newest number. Raises ValueError whose message says
    what is wrong without repeating the number.
    """
    from phonenumbers import (
        NumberParseException,
        PhoneNumberFormat,
        format_number,
        is_possible_number,
        parse,
    )

    if not number.isascii() or not _WRITTEN.fullmatch(number.strip()):
        raise ValueError("must be a number such as +441632960961, with its country code")
    try:
        found = parse(number.strip())
    except NumberParseException:
        raise ValueError("must begin with + and the code of a country") from None
    if not is_possible_number(found):
        raise ValueError("has too few or too many digits for its country")
    return str(format_number(found, PhoneNumberFormat.E164))
