"""The audit trail: a row for every write, in the same transaction."""

from psycopg.types.json import Jsonb

from p2k16 import trace
from p2k16.database import Transaction

SYSTEM = "python"


def record(transaction: Transaction, account_id: int | None, action: str, details: dict[str, object]) -> None:
    """Notes what the current request does; account_id is who is logged in."""
    transaction.execute(
        """
        INSERT INTO events (system, request_id, account_id, action, details)
        VALUES (%(system)s, %(request_id)s, %(account_id)s, %(action)s, %(details)s)
        """,
        {
            "system": SYSTEM,
            "request_id": trace.recorded(),
            "account_id": account_id,
            "action": action,
            "details": Jsonb(details),
        },
    )
