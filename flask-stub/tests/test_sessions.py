import unittest

import msgspec
from flask import Flask

from p2k16 import cookies
from p2k16.sessions import Changes, SharedSession


class ChangesTest(unittest.TestCase):
    def test_a_session_that_was_only_read_has_none(self):
        self.assertFalse(Changes.between({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}))

    def test_new_changed_and_removed_keys_are_found(self):
        changes = Changes.between({"same": 1, "old": 1, "gone": 1}, {"same": 1, "old": 2, "new": None})
        self.assertEqual(changes, Changes({"old": 2, "new": None}, frozenset({"gone"})))

    def test_a_change_inside_a_value_is_found(self):
        self.assertEqual(Changes.between({"a": [1]}, {"a": [1, 2]}).changed, {"a": [1, 2]})

    def test_another_writers_keys_survive(self):
        changes = Changes.between({"mine": 1, "gone": 1}, {"mine": 2})
        self.assertEqual(changes.applied_to({"mine": 1, "gone": 1, "theirs": 3}), {"mine": 2, "theirs": 3})

    def test_what_another_writer_removed_stays_removed(self):
        changes = Changes.between({"mine": 1, "theirs": 1}, {"mine": 2, "theirs": 1})
        self.assertEqual(changes.applied_to({"mine": 1}), {"mine": 2})


class SharedSessionTest(unittest.TestCase):
    def setUp(self):
        self.reads = []
        self.record = msgspec.json.encode({"_user_id": "4"})

    def read(self, id):
        self.reads.append(id)
        return self.record

    def test_the_record_is_read_once_and_only_when_needed(self):
        session = SharedSession("id", self.read)
        self.assertEqual(self.reads, [])
        self.assertFalse(session.was_read)
        self.assertEqual(session["_user_id"], "4")
        self.assertNotIn("x", session)
        self.assertEqual(self.reads, ["id"])
        self.assertEqual(session.record, self.record)

    def test_an_anonymous_visitor_costs_no_read(self):
        self.assertEqual(dict(SharedSession(None, self.read)), {})
        self.assertEqual(self.reads, [])

    def test_an_unknown_id_is_an_empty_session(self):
        self.record = None
        session = SharedSession("id", self.read)
        self.assertFalse(session)
        self.assertIsNone(session.record)

    def test_ending_a_session_needs_no_read(self):
        session = SharedSession("id", self.read)
        session.end()
        self.assertNotIn("_user_id", session)
        self.assertEqual(self.reads, [])


class SecureCookiesTest(unittest.TestCase):
    def test_they_are_secure_over_tls_or_always(self):
        for always, scheme, secure in (
            (True, "http", True),
            (True, "https", True),
            (False, "https", True),
            (False, "http", False),
            (False, "", False),
            (False, "https, http", False),
        ):
            with self.subTest(f"{always} {scheme}"):
                app = Flask(__name__)
                app.config["SESSION_COOKIE_SECURE"] = always
                with app.test_request_context(headers={"X-Forwarded-Proto": scheme}):
                    self.assertEqual(cookies.attributes(app)["secure"], secure)


class RestoredSessionTest(unittest.TestCase):
    def test_what_stands_for_the_session_is_asked_once(self):
        asked = []

        def restore(id, record):
            asked.append((id, record))
            return "another", b'{"_user_id":"7"}', {}, True

        session = SharedSession("id", lambda id: None, restore)
        self.assertEqual(session.user_id, "7")
        self.assertEqual((session.id, session.announced, asked), ("another", True, [("id", None)]))

    def test_somebody_who_is_remembered_has_no_record_yet(self):
        session = SharedSession(None, self.fail, lambda id, record: (id, None, {"_user_id": "7"}, True))
        self.assertEqual((session.user_id, session.record), ("7", None))
        self.assertTrue(session)

    def test_a_user_id_is_a_text(self):
        self.assertIsNone(SharedSession("id", lambda id: b'{"_user_id":7}').user_id)
