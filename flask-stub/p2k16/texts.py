"""Rules for the texts that members write."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f]", re.ASCII)
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+", re.ASCII)


def is_line(text: str, longest: int) -> bool:
    """Whether it is a text without control characters, of at most so many characters."""
    return len(text) <= longest and not _CONTROL.search(text)


def is_email(text: str) -> bool:
    return 3 <= len(text) <= 254 and _EMAIL.fullmatch(text) is not None
