import unittest

from p2k16.accounts import _literally


class LiterallyTest(unittest.TestCase):
    def test_wildcards_are_escaped(self):
        self.assertEqual(_literally(r"100%_\a"), r"100\%\_\\a")
