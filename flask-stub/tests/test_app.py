import unittest

from p2k16.app import create_app
from p2k16.config import Config

FORM = "application/x-www-form-urlencoded"


class AppTest(unittest.TestCase):
    """What the application answers to those who are not logged in, without asking a server for anything."""

    @classmethod
    def setUpClass(cls):
        app = create_app(
            Config(
                database_url="postgres://python@nowhere.invalid/p2k16",
                database_password="",
                redis_url="redis://nowhere.invalid/1",
                redis_password="",
                secret_key="key",
                secret_key_fallbacks=(),
                old_session_ttl=3600,
                login_failures=20,
                session_ttl=3600,
                cookie_secure=True,
                time_zone="UTC",
                smtp_host="nowhere.invalid",
                smtp_port=25,
                hook_url="http://nowhere.invalid",
                public_url="http://localhost",
                bcrypt_cost=4,
                reset_ttl=3600,
                jobs=False,
                job_interval=5,
            )
        )
        cls.client = app.test_client()

    def test_the_api_wants_a_login_before_anything_else(self):
        for method, path in (
            ("GET", "/api/auth/me"),
            ("GET", "/api/users/"),
            ("GET", "/api/users/x"),
            ("PUT", "/api/users/1"),
            ("POST", "/api/users/x/password"),
            ("GET", "/api/badges/"),
            ("POST", "/api/badges/"),
            ("POST", "/api/badges/1/award"),
            ("GET", "/api/tools/?page=x"),
            ("POST", "/api/tools/1/checkout"),
            ("POST", "/api/tools/1/checkin"),
            ("GET", "/api/memberships/"),
        ):
            with self.subTest(f"{method} {path}"):
                response = self.client.open(path, method=method, data="x" * 100_000)
                self.assertEqual(response.status_code, 401)
                self.assertEqual(response.json["message"], "Authentication required.")

    def test_pages_lead_to_the_login(self):
        for path in ("/dashboard", "/users", "/tools"):
            response = self.client.get(path)
            self.assertEqual((response.status_code, response.headers["Location"]), (302, f"/login?next={path}"))

    def test_lists_have_a_slash(self):
        for name in ("users", "badges", "tools", "memberships"):
            with self.subTest(name):
                response = self.client.get(f"/api/{name}?a=%20")
                self.assertEqual((response.status_code, response.headers["Location"]), (308, f"/api/{name}/?a=%20"))
                response = self.client.post(f"/api/{name}")
                self.assertEqual((response.status_code, response.headers["Allow"]), (405, "GET, HEAD"))

    def test_a_forms_errors_are_pages(self):
        for path, status, text in (
            ("/api/auth/login", 400, "Username and password are required."),
            ("/api/auth/reset", 400, "An email address is required."),
            ("/api/auth/reset/x", 400, "The link is invalid or has expired."),
            ("/api/tools/1/checkout", 401, "Authentication required."),
        ):
            with self.subTest(path):
                response = self.client.post(path, data="", content_type=FORM)
                self.assertEqual((response.status_code, response.mimetype), (status, "text/html"))
                self.assertIn(text, response.text)

    def test_a_bad_link_is_a_page_for_who_follows_it_and_json_for_programs(self):
        self.assertEqual(self.client.get("/api/auth/reset/x").mimetype, "text/html")
        response = self.client.post("/api/auth/reset/x", data="{", content_type="application/json")
        self.assertEqual((response.status_code, response.json["message"]), (400, "The link is invalid or has expired."))

    def test_the_login_tells_how_a_reset_went(self):
        self.assertIn("a link is on its way", self.client.get("/login?reset=sent").text)
        self.assertIn("has been changed", self.client.get("/login?reset=done").text)
        self.assertNotIn('role="status"', self.client.get("/login?reset=x").text)

    def test_what_another_site_sends_is_refused_before_anything_else(self):
        headers = {"Sec-Fetch-Site": "cross-site"}
        response = self.client.post("/api/auth/logout", headers=headers)
        self.assertEqual((response.status_code, response.json["message"]), (403, "This request came from another site."))
        response = self.client.post("/api/auth/login", data="username=a&password=b", content_type=FORM, headers=headers)
        self.assertEqual((response.status_code, response.mimetype), (403, "text/html"))
        self.assertEqual(self.client.post("/api/nope", headers=headers).status_code, 404)
        self.assertEqual(self.client.get("/login", headers=headers).status_code, 200)
