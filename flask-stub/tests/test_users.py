import unittest

from msgspec import UNSET

from p2k16.errors import Refused
from p2k16.users import BAD_EMAIL, BAD_NAME, Changes


class ChangesTest(unittest.TestCase):
    def test_only_what_is_given_is_changed(self):
        self.assertEqual(Changes().given(), {})
        self.assertEqual(Changes(name=None, enabled=False).given(), {"name": None, "enabled": False})

    def test_good_values_pass(self):
        for changes in (
            Changes(name=None),
            Changes(name=""),
            Changes(name="æ" * 200),
            Changes(name=UNSET, email="a@b"),
            Changes(email="!?A~@" + "x" * 249),
        ):
            with self.subTest(changes):
                changes.check()

    def test_bad_names_are_refused(self):
        for name in ("x" * 201, "a\0", "a\nb", "\x1f", "\x7f"):
            with self.subTest(name[:10]):
                self.refuse(Changes(name=name), BAD_NAME)

    def test_bad_emails_are_refused(self):
        for email in ("", "a", "@b", "a@", "a@b@c", "a b@c", "å@b", "a@b\n", "a\0@b", "x@" + "y" * 253):
            with self.subTest(email[:10]):
                self.refuse(Changes(email=email), BAD_EMAIL)

    def refuse(self, changes: Changes, message: str):
        with self.assertRaises(Refused) as caught:
            changes.check()
        self.assertEqual((caught.exception.status, caught.exception.message), (400, message))
