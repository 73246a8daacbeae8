"""What is done in the background, by the clock."""

import logging
import threading

from p2k16 import events
from p2k16.database import Database
from p2k16.outage import Unavailable

BATCH = 1000

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('expire memberships'))"

_EXPIRE = """
    WITH due AS (
        SELECT id FROM memberships
        WHERE status = 'active' AND ends_on < (now() AT TIME ZONE 'Europe/Oslo')::date
        ORDER BY id LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    ), expired AS (
        UPDATE memberships SET status = 'expired' FROM due WHERE memberships.id = due.id
        RETURNING memberships.id, account_id
    )
    INSERT INTO events (system, action, details)
    SELECT %(system)s, 'membership.expire', jsonb_build_object('membership', id, 'account', account_id)
    FROM expired ORDER BY id
"""

_logger = logging.getLogger(__name__)


class Expiry:
    """Expires the memberships whose last day is over, until it is told to stop.

    Every worker process has one. A lock in the database has one of them work at a time; the others have nothing to do.
    """

    def __init__(self, database: Database, interval: int):
        self._database = database
        self._interval = interval
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="expiry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it; what it is doing is finished first."""
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def expire_some(self) -> int:
        """Expires a number of memberships at most; returns how many it were."""
        with self._database.transaction() as transaction:
            [(locked,)] = transaction.query(_LOCK)
            if not locked:
                return 0
            return transaction.execute(_EXPIRE, {"batch": BATCH, "system": events.SYSTEM})

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                expired = self.expire_some()
            except Unavailable:
                expired = 0
            except Exception as error:
                _logger.error("memberships could not be expired: %s", error)
                expired = 0
            if expired:
                _logger.info("%d memberships expired", expired)
            if expired < BATCH:
                self._stopped.wait(self._interval)
