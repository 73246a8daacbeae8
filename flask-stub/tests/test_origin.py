import unittest

from p2k16.origin import is_foreign


class OriginTest(unittest.TestCase):
    """The other application's tests have the same table."""

    def test_what_another_site_has_a_browser_send(self):
        for refused, headers in (
            (False, {}),
            (False, {"Sec-Fetch-Site": "same-origin", "Origin": "http://example.com"}),
            (False, {"Sec-Fetch-Site": "none"}),
            (True, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}),
            (True, {"Sec-Fetch-Site": "same-site", "Origin": "http://other.example.com"}),
            (True, {"Sec-Fetch-Site": "cross-site", "Origin": "http://example.com"}),
            (False, {"Origin": "http://example.com"}),
            (False, {"Origin": "https://example.com"}),
            (True, {"Origin": "https://evil.example"}),
            (True, {"Origin": "http://example.com:81"}),
            (True, {"Origin": "null"}),
            (True, {"Origin": "http://["}),
        ):
            with self.subTest(headers):
                self.assertEqual(is_foreign("POST", headers, "example.com"), refused)
                self.assertFalse(is_foreign("GET", headers, "example.com"))
