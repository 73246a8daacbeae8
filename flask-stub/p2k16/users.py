"""The members, as JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, request
from flask_login import login_required

from p2k16 import answers, errors
from p2k16.accounts import Accounts

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

    def count(self, total: int) -> int:
        """Returns how many pages there are; an empty list has one."""
        return max(1, -(-total // self.size))


def blueprint(accounts: Accounts) -> Blueprint:
    routes = Blueprint("users", __name__, url_prefix="/api/users")

    @routes.get("")
    def add_slash() -> Response:
        query = request.query_string.decode("latin-1")
        return answers.redirect("/api/users/" + (f"?{query}" if query else ""), 308)

    @routes.get("/")
    @login_required
    def index() -> Response:
        try:
            page = Page.parse(request.args)
        except ValueError:
            return answers.failure(BAD_PAGE, 400)
        found, total = accounts.search(request.args.get("q", ""), page.number, page.size)
        return answers.success(
            {
                "users": [account.to_json() for account in found],
                "page": page.number,
                "per_page": page.size,
                "total": total,
                "pages": page.count(total),
            }
        )

    @routes.get("/<id>")
    @login_required
    def show(id: str) -> Response:
        if not _DECIMAL.fullmatch(id):
            return errors.answer(404)
        account = accounts.by_id(int(id))
        if account is None:
            return answers.failure("User not found.", 404)
        return answers.success({"user": account.to_json()})

    return routes


def _between(low: int, text: str, high: int) -> int:
    if not _DECIMAL.fullmatch(text) or not low <= int(text) <= high:
        raise ValueError(f"{text!r} is not between {low} and {high}")
    return int(text)
