import unittest

from p2k16 import ids
from p2k16.errors import Refused


class ParseTest(unittest.TestCase):
    def test_decimal_digits_are_an_id(self):
        for text, id in (("0", 0), ("7", 7), ("007", 7), ("9223372036854775807", ids.MAX_ID)):
            with self.subTest(text):
                self.assertEqual(ids.parse(text), id)

    def test_what_no_thing_can_have_is_one_id(self):
        for text in ("9223372036854775808", "9" * 10_000, "0" * 5000 + "9" * 20):
            with self.subTest(text[:20]):
                self.assertEqual(ids.parse(text), ids.MAX_ID + 1)

    def test_everything_else_is_none(self):
        for text in ("", "x", "-1", "+1", "1.0", " 1", "1_0", "٣", "¹", "\0", "1\n"):
            with self.subTest(text):
                self.assertIsNone(ids.parse(text))
                with self.assertRaises(Refused) as caught:
                    ids.in_path(text)
                self.assertEqual(caught.exception.status, 404)
