import unittest

from p2k16.paging import Page


class PageTest(unittest.TestCase):
    def test_what_is_missing_has_a_default(self):
        self.assertEqual(Page.parse({}), Page(1, 20))
        self.assertEqual(Page.parse({"page": "3"}), Page(3, 20))
        self.assertEqual(Page.parse({"per_page": "5"}), Page(1, 5))

    def test_the_limits_are_included(self):
        self.assertEqual(Page.parse({"page": "2147483647", "per_page": "100"}), Page(2147483647, 100))
        self.assertEqual(Page.parse({"page": "007", "per_page": "1"}), Page(7, 1))

    def test_what_is_not_a_positive_integer_is_refused(self):
        for text in ("", "0", "-1", "+1", "1.0", "1e2", " 1", "1 ", "x", "٣", "2147483648", "9" * 5000):
            for name in ("page", "per_page"):
                with self.subTest(f"{name}={text[:20]}"), self.assertRaises(ValueError):
                    Page.parse({name: text})

    def test_per_page_is_at_most_100(self):
        with self.assertRaises(ValueError):
            Page.parse({"per_page": "101"})

    def test_pages_are_counted_up_from_one(self):
        self.assertEqual([Page(1, 20).count(total) for total in (0, 1, 20, 21, 40, 41)], [1, 1, 1, 2, 2, 3])
