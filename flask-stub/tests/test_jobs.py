import logging
import threading
import unittest

from p2k16.jobs import BATCH, Expiry
from p2k16.outage import Unavailable


class Rounds(Expiry):
    """An expiry whose rounds come out as they are told, and that is then stopped."""

    def __init__(self, *results: int | Exception, interval: int = 3600):
        super().__init__(database=None, interval=interval)
        self._results = list(results)
        self.done = threading.Event()

    def expire_some(self) -> int:
        result = self._results.pop(0)
        if not self._results:
            self.done.set()
        if isinstance(result, Exception):
            raise result
        return result


class ExpiryTest(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def run_all(self, rounds: Rounds):
        rounds.start()
        self.assertTrue(rounds.done.wait(10))
        rounds.stop()

    def test_the_first_round_is_at_the_start_and_waiting_ends_at_once(self):
        self.run_all(Rounds(0))

    def test_a_full_round_is_followed_by_the_next_without_waiting(self):
        self.run_all(Rounds(BATCH, BATCH, 3))

    def test_it_survives_errors(self):
        self.run_all(Rounds(Unavailable("away"), KeyError("x"), 0, interval=0))

    def test_stopping_what_was_not_started_is_nothing(self):
        Rounds(0).stop()
