import unittest

from p2k16.metrics import pattern


class PatternTest(unittest.TestCase):
    def test_parameters_are_written_in_braces(self):
        self.assertEqual(pattern("/api/users/<id>"), "/api/users/{id}")
        self.assertEqual(pattern("/static/<path:filename>"), "/static/{filename}")
        self.assertEqual(pattern("/login"), "/login")
