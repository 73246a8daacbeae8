"""The accounts of the members, as the database has them."""

from dataclasses import dataclass, field

from flask_login import UserMixin
from psycopg.rows import class_row

from p2k16.database import Database

MAX_ID = 2**63 - 1

# Dates are made into text by the database: it has some that Python has not.
_COLUMNS = """
    id, username, email, name, enabled,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at
"""

_MATCHES = """
    %(pattern)s::text IS NULL
    OR username ILIKE %(pattern)s OR email ILIKE %(pattern)s OR name ILIKE %(pattern)s
"""


@dataclass(frozen=True)
class Account(UserMixin):
    """A member's account, and what Flask-Login calls a user."""

    id: int
    username: str
    email: str
    name: str | None
    enabled: bool
    created_at: str | None
    password_hash: str | None = field(default=None, repr=False)

    @property
    def is_active(self) -> bool:
        return self.enabled

    @property
    def display_name(self) -> str:
        return self.name or self.username

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "username": self.username,
            "email": self.email,
            "name": self.name,
            "enabled": self.enabled,
            "created_at": self.created_at,
        }


class Accounts:
    """Finds accounts."""

    def __init__(self, database: Database):
        self._database = database

    def by_id(self, id: int) -> Account | None:
        if id > MAX_ID:
            return None
        return self._one(f"SELECT {_COLUMNS} FROM accounts WHERE id = %(id)s", {"id": id})

    def by_login(self, name: str) -> Account | None:
        """Finds the account with this username, else the one with this email; its password hash comes with it."""
        if "\0" in name:
            return None
        return self._one(
            f"""
            SELECT {_COLUMNS}, password_hash FROM accounts
            WHERE username = %(name)s OR lower(email) = lower(%(name)s)
            ORDER BY username = %(name)s DESC
            LIMIT 1
            """,
            {"name": name},
        )

    def search(self, text: str, page: int, per_page: int) -> tuple[list[Account], int]:
        """Returns one page of the accounts that contain text, and how many do in all."""
        if "\0" in text:
            return [], 0
        pattern = f"%{_literally(text)}%" if text else None
        [(total,)] = self._database.query(
            f"SELECT count(*) FROM accounts WHERE {_MATCHES}", {"pattern": pattern}
        )
        found = self._database.query(
            f"""
            SELECT {_COLUMNS} FROM accounts WHERE {_MATCHES}
            ORDER BY name NULLS LAST, id
            LIMIT %(limit)s OFFSET %(offset)s
            """,
            {"pattern": pattern, "limit": per_page, "offset": (page - 1) * per_page},
            rows=class_row(Account),
        )
        return found, total

    def _one(self, sql: str, parameters: dict[str, object]) -> Account | None:
        found = self._database.query(sql, parameters, rows=class_row(Account))
        return found[0] if found else None


def _literally(text: str) -> str:
    """Escapes what LIKE would take for a wildcard."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
