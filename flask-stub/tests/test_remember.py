import unittest

from p2k16 import remember

# The other application makes the same.
TOKEN = (
    "42|e16f4a07da9439cdab68084d8098b7c0978481aa4ee5c8d66e7aa2fca064ca0b"
    "b46d1d805464982baec76032166db1a66164b3e5f54aabd0b050971947552fc9"
)
KEY = "a secret of the tests"


class RememberTest(unittest.TestCase):
    def test_a_token_names_its_user(self):
        self.assertEqual(remember.token_of("42", KEY), TOKEN)
        self.assertEqual(remember.user_of(TOKEN, KEY), "42")

    def test_a_token_of_somebody_else_names_nobody(self):
        for token in ("", "42", "42|", "|", "4" + TOKEN, TOKEN[:-1], TOKEN + "å", "å|0"):
            with self.subTest(token):
                self.assertIsNone(remember.user_of(token, KEY))
        self.assertIsNone(remember.user_of(TOKEN, "another"))
