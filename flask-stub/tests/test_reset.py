import json
import unittest
from hashlib import sha256

from itsdangerous import URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode

from p2k16.accounts import Account
from p2k16.reset import TEXT, Claim, Links

HASH = "$2b$04$x"
ACCOUNT = Account(7, "ola", "ola@example.com", "Ola", True, None, HASH)


class LinksTest(unittest.TestCase):
    def setUp(self):
        self.links = Links("key", (), 3600)

    def test_a_link_says_whose_and_of_which_password_it_is(self):
        claim = self.links.read(self.links.make(ACCOUNT))
        self.assertEqual(claim, Claim(7, sha256(HASH.encode()).hexdigest()[:16]))

    def test_the_payload_is_what_the_other_system_makes(self):
        payload = self.links.make(ACCOUNT).split(".")[0]
        wanted = {"account": 7, "hash": sha256(HASH.encode()).hexdigest()[:16]}
        self.assertEqual(base64_decode(payload), json.dumps(wanted, separators=(",", ":")).encode())

    def test_an_old_link_is_worth_nothing(self):
        self.assertIsNone(Links("key", (), -1).read(self.links.make(ACCOUNT)))

    def test_what_was_not_made_by_us_is_worth_nothing(self):
        token = self.links.make(ACCOUNT)
        for bad in (
            "",
            ".",
            "..",
            "." * 5000,
            "\0",
            "å.æ.ø",
            "\ufffd",
            token[:-1],
            token + "x",
            token.swapcase(),
            Links("another key", (), 3600).make(ACCOUNT),
            URLSafeTimedSerializer("key", salt="another").dumps({"account": 7, "hash": "x"}),
        ):
            with self.subTest(bad[:20]):
                self.assertIsNone(self.links.read(bad))

    def test_what_we_signed_must_still_be_a_claim(self):
        serializer = URLSafeTimedSerializer("key", salt="password-reset")
        for claim in ({}, [], None, "x", {"account": "7", "hash": "x"}, {"account": 2**70, "hash": "x"}):
            with self.subTest(claim):
                self.assertIsNone(self.links.read(serializer.dumps(claim)))


class TextTest(unittest.TestCase):
    def test_the_mail_is_word_for_word_that_of_the_other_system(self):
        self.assertEqual(
            TEXT.format(name="Kari {x}", link="http://a/b"),
            "Hello Kari {x},\n"
            "\n"
            "Open this link within an hour to choose a new password:\n"
            "http://a/b\n"
            "\n"
            "If you did not ask for this, you need not do anything.\n",
        )
