import logging
import threading
import unittest

from p2k16.outage import Breaker, Unavailable


class Away(Exception):
    pass


class BreakerTest(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.breaker = Breaker("server", lambda error: "away" if isinstance(error, Away) else None)

    def fail(self):
        with self.assertRaisesRegex(Unavailable, "away"), self.breaker.call():
            raise Away

    def test_other_errors_pass(self):
        with self.assertRaises(KeyError), self.breaker.call():
            raise KeyError

    def test_while_one_caller_tries_the_others_are_refused(self):
        self.fail()
        with self.breaker.call():
            refused = threading.Thread(target=self.assert_refused)
            refused.start()
            refused.join()
        self.assertTrue(self.was_refused)
        with self.breaker.call(), self.breaker.call():
            pass  # it is back: everybody may call again

    def test_a_failed_try_makes_room_for_the_next(self):
        self.fail()
        self.fail()
        with self.breaker.call():
            pass

    def assert_refused(self):
        try:
            with self.breaker.call():
                self.was_refused = False
        except Unavailable:
            self.was_refused = True
