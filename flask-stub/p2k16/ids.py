"""The numbers that things are known by."""

from p2k16.errors import Refused

MAX_ID = 2**63 - 1


def parse(text: str) -> int | None:
    """Returns the id that is written in decimal digits, or None. One that no thing can have is MAX_ID + 1."""
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    return min(int(digits), MAX_ID + 1) if len(digits) < 20 else MAX_ID + 1


def in_path(text: str) -> int:
    """Returns the id in a request's path; raises Refused when it is none."""
    id = parse(text)
    if id is None:
        raise Refused(404)
    return id
