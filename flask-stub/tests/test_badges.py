import unittest

from p2k16.badges import BAD_DESCRIPTION, BAD_TITLE, NewBadge
from p2k16.errors import Refused


class NewBadgeTest(unittest.TestCase):
    def test_the_title_is_trimmed(self):
        badge = NewBadge(title="  Dreiebenk ", description="æ" * 2000)
        badge.check()
        self.assertEqual(badge.title, "Dreiebenk")

    def test_bad_titles_are_refused(self):
        for badge in (NewBadge(), *(NewBadge(title=text) for text in ("", "  ", "\ta", "a\x7fb", "x" * 101))):
            with self.subTest(badge.title), self.assertRaisesRegex(Refused, BAD_TITLE):
                badge.check()

    def test_bad_descriptions_are_refused(self):
        for text in ("a\0", "x" * 2001):
            with self.subTest(text[:10]), self.assertRaisesRegex(Refused, BAD_DESCRIPTION):
                NewBadge(title="x", description=text).check()
