import tempfile
import unittest
from pathlib import Path

from p2k16.config import Config, ConfigError


class ConfigTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.secret = Path(folder.name, "secret")
        self.secret.write_text("hush")
        self.environment = {
            "DATABASE_URL": "postgres://python@postgres:5432/p2k16",
            "DATABASE_PASSWORD_FILE": str(self.secret),
            "REDIS_URL": "redis://redis:6379/1",
            "REDIS_PASSWORD_FILE": str(self.secret),
            "SECRET_KEY_FILE": str(self.secret),
            "SMTP_ADDR": "sink:2501",
            "HOOK_URL": "http://sink:8001",
            "PUBLIC_URL": "http://localhost:8080",
        }

    def test_defaults(self):
        config = Config.from_environment(self.environment)
        self.assertEqual((config.session_ttl, config.cookie_secure, config.time_zone), (3600, True, "Europe/Oslo"))
        self.assertEqual(config.secret_key, "hush")
        self.assertEqual((config.smtp_host, config.smtp_port), ("sink", 2501))
        self.assertEqual((config.bcrypt_cost, config.reset_ttl), (12, 3600))
        self.assertEqual((config.jobs, config.job_interval), (False, 5))
        self.assertEqual((config.old_session_ttl, config.login_failures), (31 * 24 * 60 * 60, 20))
        self.assertEqual(config.secret_key_fallbacks, ())

    def test_older_keys_stand_a_line_each(self):
        older = self.secret.with_name("older")
        older.write_text("older\n\r\noldest\n")
        config = Config.from_environment(self.environment | {"SECRET_KEY_FALLBACKS_FILE": str(older)})
        self.assertEqual(config.secret_key_fallbacks, ("older", "oldest"))
        self.assertNotIn("oldest", repr(config))

    def test_secrets_are_not_shown(self):
        self.assertNotIn("hush", repr(Config.from_environment(self.environment)))

    def test_an_error_names_the_variable(self):
        for name, text in (
            ("DATABASE_URL", "mysql://x"),
            ("DATABASE_URL", "postgres://postgres/p2k16"),
            ("DATABASE_URL", "postgres://python@postgres:port/p2k16"),
            ("DATABASE_PASSWORD_FILE", "/nowhere"),
            ("REDIS_URL", "redis://redis:6379"),
            ("REDIS_URL", "redis://redis:99999/1"),
            ("SESSION_TTL", "0"),
            ("SESSION_TTL", "1h"),
            ("COOKIE_SECURE", "yes"),
            ("TZ", "Mars/Olympus"),
            ("TZ", "../etc/passwd"),
            ("SMTP_ADDR", "sink"),
            ("SMTP_ADDR", ":25"),
            ("SMTP_ADDR", "sink:0"),
            ("SMTP_ADDR", "sink:smtp"),
            ("HOOK_URL", "https://sink"),
            ("HOOK_URL", "sink:8001"),
            ("HOOK_URL", "http://sink:x"),
            ("HOOK_URL", "http://sink\r\nX: y"),
            ("PUBLIC_URL", "http://localhost/"),
            ("PUBLIC_URL", "ftp://localhost"),
            ("BCRYPT_COST", "3"),
            ("BCRYPT_COST", "15"),
            ("RESET_TTL", "0"),
            ("OLD_SESSION_TTL", "x"),
            ("LOGIN_FAILURES", "0"),
            ("SECRET_KEY_FALLBACKS_FILE", "/nowhere"),
            ("JOBS", "1"),
            ("JOB_INTERVAL", "-1"),
        ):
            with self.subTest(f"{name}={text}"), self.assertRaisesRegex(ConfigError, f"^{name}: "):
                Config.from_environment(self.environment | {name: text})

    def test_a_missing_variable_is_named(self):
        del self.environment["REDIS_URL"]
        with self.assertRaisesRegex(ConfigError, "^REDIS_URL is not set$"):
            Config.from_environment(self.environment)
