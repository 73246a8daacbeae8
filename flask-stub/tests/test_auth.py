import unittest

from p2k16.auth import local_path


class LocalPathTest(unittest.TestCase):
    def test_paths_of_this_host_are_kept(self):
        for path in ("/", "/dashboard", "/api/users/?q=a&page=2", "/a/b#c", "/login?next=//x"):
            with self.subTest(path):
                self.assertEqual(local_path(path), path)

    def test_everything_else_becomes_the_dashboard(self):
        for path in (
            "",
            "dashboard",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/a\r\nSet-Cookie: x=y",
            "/a b",
            "/å",
            "/a\n",
        ):
            with self.subTest(path):
                self.assertEqual(local_path(path), "/dashboard")
