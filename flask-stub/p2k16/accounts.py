"""The accounts of the members, as the database has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flask_login import UserMixin
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from p2k16.database import Database, Transaction
from p2k16.ids import MAX_ID

# Dates are made into text by the database: it has some that Python has not.
_COLUMNS = """
    id, username, email, name, enabled,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at
"""

# What members and administrators may change.
_CHANGEABLE = ("email", "enabled", "name")

_MATCHES = "WHERE username ILIKE %(pattern)s OR email ILIKE %(pattern)s OR name ILIKE %(pattern)s"


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


class EmailTaken(Exception):
    """Another account has the email address."""


class Accounts:
    """Finds and changes accounts."""

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
            WHERE lower(username) = lower(%(name)s) AND username = %(name)s OR lower(email) = lower(%(name)s)
            ORDER BY username = %(name)s DESC
            LIMIT 1
            """,
            {"name": name},
        )

    def by_email(self, email: str) -> Account | None:
        """Finds the account with this email; its password hash comes with it."""
        if "\0" in email:
            return None
        return self._one(
            f"SELECT {_COLUMNS}, password_hash FROM accounts WHERE lower(email) = lower(%(email)s)", {"email": email}
        )

    def with_password(self, id: int) -> Account | None:
        """Finds the account with this id; its password hash comes with it."""
        if id > MAX_ID:
            return None
        return self._one(f"SELECT {_COLUMNS}, password_hash FROM accounts WHERE id = %(id)s", {"id": id})

    @staticmethod
    def exists(transaction: Transaction, id: int) -> bool:
        return bool(transaction.query("SELECT 1 FROM accounts WHERE id = %(id)s", {"id": id}))

    @staticmethod
    def change(transaction: Transaction, id: int, values: Mapping[str, object]) -> Account | None:
        """Changes some of what the account holds; returns it as it is then. Raises EmailTaken."""
        if id > MAX_ID:
            return None
        changes = ", ".join(f"{name} = %({name})s" for name in _CHANGEABLE if name in values)
        try:
            found = transaction.query(
                f"UPDATE accounts SET {changes} WHERE id = %(id)s RETURNING {_COLUMNS}",
                {**values, "id": id},
                rows=class_row(Account),
            )
        except UniqueViolation as error:
            raise EmailTaken from error
        return found[0] if found else None

    @staticmethod
    def set_password(transaction: Transaction, id: int, hash: str) -> None:
        transaction.execute("UPDATE accounts SET password_hash = %(new)s WHERE id = %(id)s", {"id": id, "new": hash})

    @staticmethod
    def replace_password(transaction: Transaction, account: Account, hash: str) -> bool:
        """Gives the account another password hash if it still is as it was read, with its old one."""
        changed = transaction.execute(
            """
            UPDATE accounts SET password_hash = %(new)s
            WHERE id = %(id)s AND enabled = %(enabled)s AND password_hash = %(old)s
            """,
            {"id": account.id, "enabled": account.enabled, "old": account.password_hash, "new": hash},
        )
        return changed == 1

    def search(self, text: str, page: int, per_page: int) -> tuple[list[Account], int]:
        """Returns one page of the accounts that contain text, and how many do in all."""
        if "\0" in text:
            return [], 0
        matches = _MATCHES if text else ""
        # A plan that is good for every text would not use the index for any. Without a text the plan is kept; that
        # the limit is no parameter has Postgres keep it.
        prepare = False if text else None
        pattern = f"%{_literally(text)}%"
        [(total,)] = self._database.query(
            f"SELECT count(*) FROM accounts {matches}", {"pattern": pattern}, prepare=prepare
        )
        found = self._database.query(
            f"""
            SELECT {_COLUMNS} FROM accounts JOIN (
                SELECT id FROM accounts {matches}
                ORDER BY name NULLS LAST, id
                LIMIT {per_page:d} OFFSET {(page - 1) * per_page:d}
            ) AS page USING (id)
            ORDER BY name NULLS LAST, id
            """,
            {"pattern": pattern},
            rows=class_row(Account),
            prepare=prepare,
        )
        return found, total

    def _one(self, sql: str, parameters: dict[str, object]) -> Account | None:
        found = self._database.query(sql, parameters, rows=class_row(Account))
        return found[0] if found else None


def _literally(text: str) -> str:
    """Escapes what LIKE would take for a wildcard."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
