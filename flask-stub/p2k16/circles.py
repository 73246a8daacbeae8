"""The circles that members are in; they decide who may do what."""

from p2k16.database import Database, Transaction

ADMINISTRATORS = "admin"


def is_administrator(database: Database | Transaction, account_id: int) -> bool:
    """Whether the account, which has to be enabled, is an administrator's."""
    return _exists(
        database,
        """
        SELECT 1 FROM circle_members JOIN circles ON circles.id = circle_id
        WHERE account_id = %(account)s AND name = %(name)s
        """,
        {"account": account_id, "name": ADMINISTRATORS},
    )


def admits(database: Database | Transaction, circle_id: int | None, account_id: int) -> bool:
    """Whether the account may use what belongs to the circle; what belongs to none is everybody's."""
    return (
        circle_id is None
        or _exists(
            database,
            "SELECT 1 FROM circle_members WHERE circle_id = %(circle)s AND account_id = %(account)s",
            {"circle": circle_id, "account": account_id},
        )
        or is_administrator(database, account_id)
    )


def exists(transaction: Transaction, id: int) -> bool:
    return _exists(transaction, "SELECT 1 FROM circles WHERE id = %(id)s", {"id": id})


def of_account(database: Database, account_id: int) -> list[str]:
    """Returns the names of the circles that the account is in."""
    found = database.query(
        """
        SELECT name FROM circle_members JOIN circles ON circles.id = circle_id
        WHERE account_id = %(account)s ORDER BY name
        """,
        {"account": account_id},
    )
    return [name for (name,) in found]


def _exists(database: Database | Transaction, sql: str, parameters: dict[str, object]) -> bool:
    return bool(database.query(sql, parameters))
