"""Long lists are sent in parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from p2k16.errors import Refused

BAD_PAGE = "page and per_page must be positive integers, per_page at most 100."
MAX_PAGE = 2**31 - 1
MAX_PER_PAGE = 100

_DECIMAL = re.compile(r"[0-9]{1,1000}", re.ASCII)


@dataclass(frozen=True)
class Page:
    """Which part of a long list is wanted."""

    number: int = 1
    size: int = 20

    @classmethod
    def parse(cls, arguments: Mapping[str, str]) -> "Page":
        """Reads page and per_page; raises ValueError when either is not in its range."""
        return cls(
            _between(1, arguments.get("page", "1"), MAX_PAGE),
            _between(1, arguments.get("per_page", "20"), MAX_PER_PAGE),
        )

    @classmethod
    def wanted(cls, arguments: Mapping[str, str]) -> "Page":
        """Reads page and per_page; raises Refused when either is not in its range."""
        try:
            return cls.parse(arguments)
        except ValueError as error:
            raise Refused(400, BAD_PAGE) from error

    @classmethod
    def lenient(cls, arguments: Mapping[str, str]) -> "Page":
        """Reads page and per_page; what is not in its range is the first page."""
        try:
            return cls.parse(arguments)
        except ValueError:
            return cls()

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    def count(self, total: int) -> int:
        """Returns how many pages there are; an empty list has one."""
        return max(1, -(-total // self.size))

    def of(self, name: str, things: list[object], total: int) -> dict[str, object]:
        """Returns this part of the list as it is sent."""
        return {
            name: things,
            "page": self.number,
            "per_page": self.size,
            "total": total,
            "pages": self.count(total),
        }


def _between(low: int, text: str, high: int) -> int:
    if not _DECIMAL.fullmatch(text) or not low <= int(text) <= high:
        raise ValueError(f"{text!r} is not between {low} and {high}")
    return int(text)
