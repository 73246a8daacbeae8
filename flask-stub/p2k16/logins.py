"""Notes logins and logouts in the database; the sessions themselves are in Redis."""

from dataclasses import dataclass
from hashlib import sha256

from p2k16 import events
from p2k16.database import Database


@dataclass(frozen=True)
class Logins:
    database: Database
    session_ttl: int

    def start(self, session_id: str, account_id: int) -> None:
        with self.database.transaction() as transaction:
            transaction.execute(
                """
                INSERT INTO sessions (session_id_hash, user_id, expires_at)
                VALUES (%(hash)s, %(account)s, now() + make_interval(secs => %(ttl)s))
                """,
                {"hash": _hash(session_id), "account": account_id, "ttl": self.session_ttl},
            )
            events.record(transaction, account_id, "login", {"account": account_id})

    def end(self, session_id: str, account_id: int) -> None:
        with self.database.transaction() as transaction:
            transaction.execute("DELETE FROM sessions WHERE session_id_hash = %(hash)s", {"hash": _hash(session_id)})
            events.record(transaction, account_id, "logout", {"account": account_id})


def _hash(session_id: str) -> str:
    return sha256(session_id.encode()).hexdigest()
