import logging
import threading
import unittest
from contextlib import contextmanager
from datetime import UTC, datetime

from p2k16.jobs import JOB, RUN_LIMIT, Expiry
from p2k16.outage import Unavailable

SLOT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class FakeDatabase:
    """A database that grants the run or not, and notes what is asked of it."""

    def __init__(self, granted: bool, failure: Exception | None = None):
        self._granted = granted
        self._failure = failure
        self.asked: list[tuple[str, dict[str, object] | None]] = []
        self.ended: list[str] = []
        self.limit = 0.0

    @contextmanager
    def transaction(self, limit: float):
        self.limit = limit
        try:
            yield self
        except BaseException:
            self.ended.append("rolled back")
            raise
        self.ended.append("committed")

    def query(self, sql, parameters=None):
        self.asked.append((_summary(sql), parameters))
        return [(SLOT,)] if "RETURNING slot" in sql and self._granted else []

    def execute(self, sql, parameters=None):
        self.asked.append((_summary(sql), parameters))
        if "membership.expire" in sql:
            if self._failure:
                raise self._failure
            return 3
        return 1


def _summary(sql: str) -> str:
    for mark in ("set_config", "INTO job_runs", "membership.expire", "ended_at"):
        if mark in sql:
            return mark
    return sql


class RunTest(unittest.TestCase):
    def test_a_run_is_claimed_done_and_ended_in_one_transaction(self):
        database = FakeDatabase(granted=True)
        self.assertEqual(Expiry(database, 5).expire(), 3)
        self.assertEqual(
            database.asked,
            [
                ("set_config", None),
                ("INTO job_runs", {"job": JOB, "system": "python"}),
                ("membership.expire", {"system": "python"}),
                ("ended_at", {"job": JOB, "slot": SLOT}),
            ],
        )
        self.assertEqual(database.ended, ["committed"])

    def test_without_the_run_nothing_is_done(self):
        database = FakeDatabase(granted=False)
        self.assertEqual(Expiry(database, 5).expire(), 0)
        self.assertEqual([asked for asked, _ in database.asked], ["set_config", "INTO job_runs"])

    def test_what_fails_gives_the_run_back(self):
        database = FakeDatabase(granted=True, failure=KeyError("x"))
        with self.assertRaises(KeyError):
            Expiry(database, 5).expire()
        self.assertEqual(database.ended, ["rolled back"])

    def test_the_server_gives_up_before_this_process_does(self):
        database = FakeDatabase(granted=False)
        Expiry(database, 5).expire()
        self.assertGreater(database.limit, RUN_LIMIT)


class Rounds(Expiry):
    """An expiry whose rounds come out as they are told, and that is then stopped."""

    def __init__(self, *results: int | Exception, interval: int = 3600):
        super().__init__(database=None, interval=interval)
        self._results = list(results)
        self.done = threading.Event()

    def expire(self) -> int:
        result = self._results.pop(0)
        if not self._results:
            self.done.set()
        if isinstance(result, Exception):
            raise result
        return result


class PollingTest(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def run_all(self, rounds: Rounds):
        rounds.start()
        self.assertTrue(rounds.done.wait(10))
        rounds.stop()

    def test_the_first_round_is_at_the_start_and_waiting_ends_at_once(self):
        self.run_all(Rounds(0))

    def test_it_survives_errors(self):
        self.run_all(Rounds(Unavailable("away"), KeyError("x"), 0, interval=0))

    def test_stopping_what_was_not_started_is_nothing(self):
        Rounds(0).stop()
