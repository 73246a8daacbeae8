"""What is done in the background, by the clock, by the system that the database says it belongs to."""

import logging
import threading

from p2k16 import events
from p2k16.database import Database
from p2k16.outage import Unavailable

JOB = "expire-memberships"

# How long a run may take, and with it a change of owner that waits for it: the server ends what takes longer. The run
# of a process that hangs it ends after 3 s, of one that died after 1 s, whatever the run waits for.
RUN_LIMIT = 30
_LIMITS = f"""
    SELECT
        set_config('transaction_timeout', '{RUN_LIMIT}s', true),
        set_config('statement_timeout', '0', true),
        set_config('idle_in_transaction_session_timeout', '3s', true),
        set_config('client_connection_check_interval', '1s', true)
"""

# The job stays locked to the end of the transaction: a change of owner waits for it, and who finds it locked, by a run
# or by a change, has nothing to do now. Whether the period has had its run is what the key of job_runs says.
_CLAIM = """
    WITH mine AS (
        SELECT name, date_bin(period, now(), 'epoch') AS slot FROM jobs
        WHERE name = %(job)s AND owner = %(system)s
        FOR NO KEY UPDATE SKIP LOCKED
    )
    INSERT INTO job_runs (job, slot, system)
    SELECT name, slot, %(system)s FROM mine
    ON CONFLICT DO NOTHING
    RETURNING slot
"""

_EXPIRE = """
    WITH expired AS (
        UPDATE memberships SET status = 'expired'
        WHERE status = 'active' AND ends_on < (now() AT TIME ZONE 'Europe/Oslo')::date
        RETURNING id, account_id
    )
    INSERT INTO events (system, action, details)
    SELECT %(system)s, 'membership.expire', jsonb_build_object('membership', id, 'account', account_id)
    FROM expired ORDER BY id
"""

_END = "UPDATE job_runs SET ended_at = clock_timestamp() WHERE job = %(job)s AND slot = %(slot)s"

_logger = logging.getLogger(__name__)


class Expiry:
    """Expires the memberships whose last day is over, once in each period of the job, until it is told to stop.

    Every worker process of both systems looks regularly whether there is something to do: whether the job belongs to
    its system, and nobody has run it in the present period.
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

    def expire(self) -> int:
        """Expires memberships, if this process is the one to do it now; returns how many it were.

        The run and its work are one transaction: one that breaks off leaves nothing, and is made up for.
        """
        with self._database.transaction(limit=RUN_LIMIT + 1) as transaction:
            transaction.query(_LIMITS)
            claimed = transaction.query(_CLAIM, {"job": JOB, "system": events.SYSTEM})
            if not claimed:
                return 0
            [(slot,)] = claimed
            expired = transaction.execute(_EXPIRE, {"system": events.SYSTEM})
            transaction.execute(_END, {"job": JOB, "slot": slot})
            return expired

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if expired := self.expire():
                    _logger.info("%d memberships expired", expired)
            except Unavailable as error:
                _logger.warning("memberships could not be expired: %s", error)
            except Exception as error:
                _logger.error("memberships could not be expired: %s", error)
            self._stopped.wait(self._interval)
