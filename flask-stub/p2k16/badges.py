"""The badges, and awarding them."""

import msgspec
from flask import Blueprint, Response, request
from flask_login import current_user, login_required
from msgspec import UNSET, UnsetType
from psycopg.rows import dict_row

from p2k16 import answers, awards, bodies, circles, events, ids, texts, users
from p2k16.accounts import Accounts
from p2k16.bodies import Integer
from p2k16.database import Database, Transaction
from p2k16.errors import Refused
from p2k16.paging import Page

NOT_FOUND = "Badge not found."
BAD_TITLE = "The title is not valid."
BAD_DESCRIPTION = "The description is not valid."
NO_SUCH_CIRCLE = "There is no such circle."
TITLE_TAKEN = "The title is taken."
NO_ACCOUNT = "The account is required."

LONGEST_TITLE = 100
LONGEST_DESCRIPTION = 2000

_SELECT = """
    SELECT
        badges.id, badges.title, badges.description, circles.name AS circle,
        to_char(badges.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at
    FROM badges
    LEFT JOIN circles ON circles.id = badges.circle_id
"""


class NewBadge(msgspec.Struct):
    """A badge that is to be made."""

    title: str | UnsetType = UNSET
    description: str | None = None
    circle_id: Integer | None = None

    def check(self) -> None:
        """Trims the title; raises Refused when a value is not valid."""
        self.title = (self.title or "").strip(" ")
        if not self.title or not texts.is_line(self.title, LONGEST_TITLE):
            raise Refused(400, BAD_TITLE)
        if self.description and (len(self.description) > LONGEST_DESCRIPTION or "\0" in self.description):
            raise Refused(400, BAD_DESCRIPTION)


class Award(msgspec.Struct):
    """Who is to be awarded a badge."""

    account_id: Integer | UnsetType = UNSET


def blueprint(database: Database) -> Blueprint:
    routes = Blueprint("badges", __name__, url_prefix="/api/badges")

    @routes.get("")
    def add_slash() -> Response:
        return answers.with_slash()

    @routes.get("/")
    @login_required
    def index() -> Response:
        page = Page.wanted(request.args)
        [(total,)] = database.query("SELECT count(*) FROM badges")
        found = database.query(
            f"{_SELECT} ORDER BY badges.title, badges.id LIMIT %(limit)s OFFSET %(offset)s",
            {"limit": page.size, "offset": page.offset},
            rows=dict_row,
        )
        return answers.success(page.of("badges", found, total))

    @routes.post("/")
    @login_required
    def create() -> Response:
        if not circles.is_administrator(database, current_user.id):
            raise Refused(403)
        badge = bodies.read(NewBadge)
        badge.check()
        with database.transaction() as transaction:
            made = _create(transaction, badge)
            events.record(transaction, current_user.id, "badge.create", {"badge": made["id"]})
        return answers.success({"badge": made}, 201)

    @routes.post("/<id>/award")
    @login_required
    def award(id: str) -> Response:
        badge_id = ids.in_path(id)
        account_id = bodies.read(Award).account_id
        if account_id is UNSET:
            raise Refused(400, NO_ACCOUNT)
        with database.transaction() as transaction:
            circle_id = _circle_of(transaction, badge_id)
            if not Accounts.exists(transaction, account_id):
                raise Refused(404, users.NOT_FOUND)
            if not circles.admits(transaction, circle_id, current_user.id):
                raise Refused(403)
            given = awards.give(transaction, badge_id, account_id, current_user.id)
            details = {"award": given["id"], "badge": badge_id, "account": account_id}
            events.record(transaction, current_user.id, "badge.award", details)
        return answers.success({"award": given}, 201)

    return routes


def _create(transaction: Transaction, badge: NewBadge) -> dict[str, object]:
    if badge.circle_id is not None and not circles.exists(transaction, badge.circle_id):
        raise Refused(400, NO_SUCH_CIRCLE)
    made = transaction.query(
        """
        INSERT INTO badges (title, description, circle_id) VALUES (%(title)s, %(description)s, %(circle_id)s)
        ON CONFLICT (title) DO NOTHING
        RETURNING id
        """,
        msgspec.structs.asdict(badge),
    )
    if not made:
        raise Refused(409, TITLE_TAKEN)
    [badge] = transaction.query(f"{_SELECT} WHERE badges.id = %(id)s", {"id": made[0][0]}, rows=dict_row)
    return badge


def _circle_of(transaction: Transaction, id: int) -> int | None:
    """Returns the circle of a badge; raises Refused when there is no such badge."""
    if id > ids.MAX_ID:
        raise Refused(404, NOT_FOUND)
    found = transaction.query("SELECT circle_id FROM badges WHERE id = %(id)s", {"id": id})
    if not found:
        raise Refused(404, NOT_FOUND)
    return found[0][0]
