"""The badges that members were awarded."""

from psycopg.rows import dict_row

from p2k16.database import Database, Transaction

_SELECT = """
    SELECT
        awards.id, awards.badge_id, badges.title, accounts.username AS awarded_by,
        to_char(awards.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at
    FROM awards
    JOIN badges ON badges.id = awards.badge_id
    LEFT JOIN accounts ON accounts.id = awards.awarded_by
"""


def of_account(database: Database, account_id: int, limit: int | None = None) -> list[dict[str, object]]:
    """Returns what the account was awarded, the latest first."""
    return database.query(
        f"""
        {_SELECT} WHERE awards.account_id = %(account)s
        ORDER BY awards.created_at DESC, awards.id DESC LIMIT %(limit)s
        """,
        {"account": account_id, "limit": limit},
        rows=dict_row,
    )


def give(transaction: Transaction, badge_id: int, account_id: int, awarded_by: int) -> dict[str, object]:
    """Awards a badge to an account."""
    [(id,)] = transaction.query(
        """
        INSERT INTO awards (badge_id, account_id, awarded_by) VALUES (%(badge)s, %(account)s, %(by)s)
        RETURNING id
        """,
        {"badge": badge_id, "account": account_id, "by": awarded_by},
    )
    [award] = transaction.query(f"{_SELECT} WHERE awards.id = %(id)s", {"id": id}, rows=dict_row)
    return award
