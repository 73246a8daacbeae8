import unittest

from flask import Flask

from p2k16 import trace


class TraceTest(unittest.TestCase):
    def given(self, id: str | None) -> tuple[str, str | None]:
        headers = {} if id is None else {"X-Request-ID": id}
        with Flask("test").test_request_context("/", headers=headers):
            self.assertEqual(trace.current(), trace.current())
            return trace.current(), trace.recorded()

    def test_the_edges_id_is_kept(self):
        self.assertEqual(self.given("abc-1"), ("abc-1", "abc-1"))

    def test_without_one_there_is_a_new_one_that_is_not_recorded(self):
        for id in (None, ""):
            with self.subTest(id):
                current, recorded = self.given(id)
                self.assertRegex(current, "^[0-9a-f]{32}$")
                self.assertIsNone(recorded)

    def test_what_does_not_fit_a_header_is_recorded_but_not_passed_on(self):
        current, recorded = self.given("y" * 300)
        self.assertRegex(current, "^[0-9a-f]{32}$")
        self.assertEqual(recorded, "y" * 200)
