"""The memberships that accounts pay for."""

from flask import Blueprint, Response, request
from flask_login import current_user, login_required
from psycopg.rows import dict_row

from p2k16 import answers, circles, ids
from p2k16.database import Database
from p2k16.errors import Refused
from p2k16.paging import Page

BAD_ACCOUNT = "account_id must be a positive integer."


class Memberships:
    """Finds memberships."""

    def __init__(self, database: Database):
        self._database = database

    def on_page(self, account_id: int | None, page: Page) -> tuple[list[dict[str, object]], int]:
        """Returns one page of an account's memberships, or of everybody's, and how many there are in all."""
        condition = "" if account_id is None else "WHERE account_id = %(account)s"
        parameters = {"account": account_id, "limit": page.size, "offset": page.offset}
        [(total,)] = self._database.query(f"SELECT count(*) FROM memberships {condition}", parameters)
        found = self._database.query(
            f"""
            SELECT
                memberships.id, account_id, username,
                to_char(starts_on, 'YYYY-MM-DD') AS starts_on, to_char(ends_on, 'YYYY-MM-DD') AS ends_on,
                fee::text AS fee, status
            FROM memberships JOIN (
                SELECT id FROM memberships {condition}
                ORDER BY starts_on DESC, id DESC
                LIMIT %(limit)s OFFSET %(offset)s
            ) AS page USING (id)
            LEFT JOIN accounts ON accounts.id = account_id
            ORDER BY memberships.starts_on DESC, memberships.id DESC
            """,
            parameters,
            rows=dict_row,
        )
        return found, total


def blueprint(database: Database, memberships: Memberships) -> Blueprint:
    routes = Blueprint("memberships", __name__, url_prefix="/api/memberships")

    @routes.get("")
    def add_slash() -> Response:
        return answers.with_slash()

    @routes.get("/")
    @login_required
    def index() -> Response:
        wanted = _wanted_account()
        if not circles.is_administrator(database, current_user.id):
            if wanted not in (None, current_user.id):
                raise Refused(403)
            wanted = current_user.id
        page = Page.wanted(request.args)
        found, total = memberships.on_page(wanted, page)
        return answers.success(page.of("memberships", found, total))

    return routes


def _wanted_account() -> int | None:
    """Returns whose memberships are wanted, if the request says it; raises Refused when that is no id."""
    text = request.args.get("account_id")
    if text is None:
        return None
    id = ids.parse(text)
    if id is None or not 1 <= id <= ids.MAX_ID:
        raise Refused(400, BAD_ACCOUNT)
    return id
