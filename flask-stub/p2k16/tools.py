"""The tools, and who has them."""

from dataclasses import dataclass

from flask import Blueprint, Response, request
from flask_login import current_user, login_required
from psycopg.rows import class_row

from p2k16 import answers, circles, errors, events, ids
from p2k16.database import Database, Transaction
from p2k16.errors import Refused
from p2k16.hook import Hook
from p2k16.paging import Page

NOT_FOUND = "Tool not found."
CHECKED_OUT = "The tool is checked out already."
NOT_CHECKED_OUT = "The tool is not checked out."

_SELECT = """
    SELECT
        tools.id, tools.name, tools.description, circles.name AS circle, tools.circle_id,
        checkouts.id AS checkout_id, checkouts.account_id, accounts.username,
        to_char(checkouts.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started_at
    FROM tools
    LEFT JOIN circles ON circles.id = tools.circle_id
    LEFT JOIN checkouts ON checkouts.tool_id = tools.id AND checkouts.ended_at IS NULL
    LEFT JOIN accounts ON accounts.id = checkouts.account_id
"""


@dataclass(frozen=True)
class Tool:
    """A tool, and who has it if somebody does."""

    id: int
    name: str
    description: str | None
    circle: str | None
    circle_id: int | None
    checkout_id: int | None
    account_id: int | None
    username: str | None
    started_at: str | None

    def to_json(self) -> dict[str, object]:
        checkout = {
            "id": self.checkout_id,
            "account_id": self.account_id,
            "username": self.username,
            "started_at": self.started_at,
        }
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "circle": self.circle,
            "checkout": None if self.checkout_id is None else checkout,
        }


class Tools:
    """Finds tools, and hands them out."""

    def __init__(self, database: Database):
        self._database = database

    def on_page(self, page: Page) -> tuple[list[Tool], int]:
        """Returns one page of the tools, and how many there are in all."""
        [(total,)] = self._database.query("SELECT count(*) FROM tools")
        found = self._database.query(
            f"{_SELECT} ORDER BY tools.name, tools.id LIMIT %(limit)s OFFSET %(offset)s",
            {"limit": page.size, "offset": page.offset},
            rows=class_row(Tool),
        )
        return found, total

    def held_by(self, account_id: int) -> list[Tool]:
        return self._database.query(
            f"{_SELECT} WHERE checkouts.account_id = %(account)s ORDER BY tools.name, tools.id",
            {"account": account_id},
            rows=class_row(Tool),
        )

    def check_out(self, id: int, account_id: int) -> Tool:
        with self._database.transaction() as transaction:
            tool = _find(transaction, id)
            if not circles.admits(transaction, tool.circle_id, account_id):
                raise Refused(403)
            # Of two at the same moment the second waits here for the first, and inserts nothing.
            inserted = transaction.query(
                """
                INSERT INTO checkouts (tool_id, account_id) VALUES (%(tool)s, %(account)s)
                ON CONFLICT (tool_id) WHERE ended_at IS NULL DO NOTHING
                RETURNING id
                """,
                {"tool": id, "account": account_id},
            )
            if not inserted:
                raise Refused(409, CHECKED_OUT)
            events.record(transaction, account_id, "tool.checkout", {"tool": id, "checkout": inserted[0][0]})
            return _find(transaction, id)

    def check_in(self, id: int, account_id: int) -> Tool:
        with self._database.transaction() as transaction:
            _find(transaction, id)
            found = transaction.query(
                "SELECT id, account_id FROM checkouts WHERE tool_id = %(tool)s AND ended_at IS NULL FOR UPDATE",
                {"tool": id},
            )
            if not found:
                raise Refused(409, NOT_CHECKED_OUT)
            [(checkout_id, holder)] = found
            if holder != account_id and not circles.is_administrator(transaction, account_id):
                raise Refused(403)
            transaction.execute("UPDATE checkouts SET ended_at = now() WHERE id = %(id)s", {"id": checkout_id})
            events.record(transaction, account_id, "tool.checkin", {"tool": id, "checkout": checkout_id})
            return _find(transaction, id)


def blueprint(tools: Tools, hook: Hook) -> Blueprint:
    routes = Blueprint("tools", __name__, url_prefix="/api/tools")

    @routes.get("")
    def add_slash() -> Response:
        return answers.with_slash()

    @routes.get("/")
    @login_required
    def index() -> Response:
        page = Page.wanted(request.args)
        found, total = tools.on_page(page)
        return answers.success(page.of("tools", [tool.to_json() for tool in found], total))

    @routes.post("/<id>/checkout")
    @login_required
    def checkout(id: str) -> Response:
        tool = tools.check_out(ids.in_path(id), current_user.id)
        hook.tell(tool.id, current_user.id, "checkout")
        return _done(tool)

    @routes.post("/<id>/checkin")
    @login_required
    def checkin(id: str) -> Response:
        tool = tools.check_in(ids.in_path(id), current_user.id)
        hook.tell(tool.id, current_user.id, "checkin")
        return _done(tool)

    return routes


def _find(transaction: Transaction, id: int) -> Tool:
    """Returns the tool; raises Refused when there is none."""
    if id > ids.MAX_ID:
        raise Refused(404, NOT_FOUND)
    found = transaction.query(f"{_SELECT} WHERE tools.id = %(id)s", {"id": id}, rows=class_row(Tool))
    if not found:
        raise Refused(404, NOT_FOUND)
    return found[0]


def _done(tool: Tool) -> Response:
    if errors.came_from_a_page():
        return answers.redirect("/tools", 303)
    return answers.success({"tool": tool.to_json()})
