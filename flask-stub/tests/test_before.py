import base64
import hmac
import tracemalloc
import unittest
import uuid
import zlib
from datetime import UTC, datetime
from time import monotonic, time

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous.encoding import base64_encode, int_to_bytes
from markupsafe import Markup

from p2k16.before import MAX_COOKIE, OldSessions

DAY = 24 * 60 * 60
KEY = "key"


def cookie(values, key: str = KEY) -> str:
    app = Flask("before")
    app.config["SECRET_KEY"] = key
    with app.app_context():
        return SecureCookieSessionInterface().get_signing_serializer(app).dumps(values)


def signed(payload: bytes, age: int = 0) -> str:
    text = payload + b"." + base64_encode(int_to_bytes(int(time()) - age))
    key = hmac.digest(KEY.encode(), b"cookie-session", "sha1")
    return (text + b"." + base64_encode(hmac.digest(key, text, "sha1"))).decode()


class OldSessionsTest(unittest.TestCase):
    def setUp(self):
        self.sessions = OldSessions(KEY, ("older", "oldest"), 31 * DAY)

    def test_values_take_the_forms_of_a_record(self):
        found = self.sessions.read(
            cookie(
                {
                    "_user_id": 7,
                    "b": b"\0\xff",
                    "d": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                    "m": Markup("<b>"),
                    "t": (1, [None, True]),
                    "u": uuid.UUID(int=1 << 120),
                    "nan": float("nan"),
                    "inf": [float("inf")],
                    "f": 1.5,
                    "n": {"å": "ø"},
                    "big": 2**64 - 1,
                    "half": "\ud800",
                    "half\ud800": 1,
                    "deep": [{"x": Markup("\ud800")}],
                    "bigger": 2**64,
                    "key": {"\ud800": None},
                }
            )
        )
        self.assertEqual(
            found.record,
            {
                "_user_id": "7",
                "b": "AP8=",
                "d": "2026-01-02T03:04:05Z",
                "m": "<b>",
                "t": [1, [None, True]],
                "u": "01000000-0000-0000-0000-000000000000",
                "nan": None,
                "inf": [None],
                "f": 1.5,
                "n": {"å": "ø"},
                "big": 2**64 - 1,
                "migrated": True,
                "created_by": "python",
            },
        )

    def test_life_is_what_remains(self):
        found = self.sessions.read(signed(base64_encode(b'{"_user_id":"7"}'), age=10 * DAY))
        self.assertAlmostEqual(found.life, 21 * DAY, delta=5)
        self.assertIsNone(self.sessions.read(signed(base64_encode(b"{}"), age=31 * DAY + 2)))
        self.assertIsNone(self.sessions.read(signed(base64_encode(b"{}"), age=-60)))

    def test_older_keys_verify(self):
        for key in (KEY, "older", "oldest"):
            self.assertEqual(self.sessions.read(cookie({"_user_id": "7"}, key)).user_id, "7")
        self.assertIsNone(self.sessions.read(cookie({"_user_id": "7"}, "another")))

    def test_what_cannot_be_used_is_none(self):
        good = cookie({"_user_id": "7"})
        for text in (
            "",
            "x",
            "a.b.c",
            good[:-3],
            "x" + good[1:],
            good + "å",
            "x" * (MAX_COOKIE + 1),
            cookie([1]),
            signed(base64_encode(b"{")),
            signed(b".e30"),
            signed(base64_encode(b'{" b":1}')),
        ):
            with self.subTest(text[:40]):
                self.assertIsNone(self.sessions.read(text))

    def test_an_empty_session_holds_nothing(self):
        self.assertEqual(self.sessions.read(cookie({})).record, {})

    def test_a_bomb_is_not_unpacked(self):
        for size in (5 << 20, 100 << 20):
            bomb = signed(b"." + base64.urlsafe_b64encode(zlib.compress(bytes(size), 9)).rstrip(b"="))
            tracemalloc.start()
            began = monotonic()
            self.assertIsNone(self.sessions.read(bomb))
            elapsed = monotonic() - began
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertLess(elapsed, 0.01)
            self.assertLess(peak, 1 << 20)
