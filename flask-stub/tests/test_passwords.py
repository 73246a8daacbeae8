import time
import unittest

import bcrypt
from passlib.hash import sha512_crypt

from p2k16 import passwords


def bcrypt_hash(password: str) -> str:
    return bcrypt.hashpw(password.encode()[: passwords.BCRYPT_BYTES], bcrypt.gensalt(4)).decode()


class VerifyTest(unittest.TestCase):
    def test_both_kinds_of_hashes_are_accepted(self):
        for hash in (bcrypt_hash("blåbær"), sha512_crypt.using(rounds=1000).hash("blåbær")):
            with self.subTest(hash[:4]):
                self.assertTrue(passwords.verify("blåbær", hash))
                self.assertFalse(passwords.verify("Blåbær", hash))
                self.assertFalse(passwords.verify("", hash))

    def test_bcrypt_looks_at_72_bytes(self):
        hash = bcrypt_hash("x" * 72)
        self.assertTrue(passwords.verify("x" * 72 + "whatever", hash))
        self.assertFalse(passwords.verify("x" * 71, hash))

    def test_sha512_looks_at_everything(self):
        hash = sha512_crypt.using(rounds=1000).hash("x" * 72)
        self.assertFalse(passwords.verify("x" * 73, hash))

    def test_a_character_is_cut_in_the_middle(self):
        hash = bcrypt_hash("x" * 71 + "å")
        self.assertTrue(passwords.verify("x" * 71 + "å!", hash))

    def test_a_password_with_a_nul_is_wrong(self):
        for hash in (bcrypt_hash("a"), sha512_crypt.using(rounds=1000).hash("a")):
            self.assertFalse(passwords.verify("a\0", hash))

    def test_a_very_long_password_is_wrong(self):
        self.assertFalse(passwords.verify("a" * 5000, sha512_crypt.using(rounds=1000).hash("a")))

    def test_malformed_and_foreign_hashes_are_never_right(self):
        other_version = "$2a$" + bcrypt_hash("x")[4:]
        for hash in (None, "", "x", "$2b$06$short", "$2b$99$" + "a" * 53, other_version, "$6$", "$1$x$y"):
            with self.subTest(hash):
                self.assertFalse(passwords.verify("x", hash))

    def test_no_hash_takes_as_long_as_a_wrong_password(self):
        hash = bcrypt.hashpw(b"right", bcrypt.gensalt(6)).decode()
        wrong = fastest(lambda: passwords.verify("wrong", hash))
        self.assertGreater(fastest(lambda: passwords.verify("wrong", None)), wrong / 2)


class ChooseTest(unittest.TestCase):
    def test_a_password_has_8_to_1000_characters(self):
        for password in ("x" * 8, "æ" * 8, "😀" * 1000, " " * 8, "a\nbcdefg"):
            with self.subTest(password[:10]):
                self.assertTrue(passwords.is_good(password))
        for password in (None, "", "x" * 7, "x" * 1001, "xxxxxxxx\0"):
            with self.subTest(password and password[:10]):
                self.assertFalse(passwords.is_good(password))

    def test_a_new_hash_is_its_passwords(self):
        for password in ("blåbærsyltetøy", "e\u0301" * 8, "\u00e9" * 8, "æ" * 500):
            hash = passwords.hash(password, 4)
            with self.subTest(password[:10]):
                self.assertRegex(hash, r"^\$2b\$04\$")
                self.assertTrue(passwords.verify(password, hash))
                self.assertFalse(passwords.verify(password.upper(), hash))
        self.assertFalse(passwords.verify("\u00e9" * 8, passwords.hash("e\u0301" * 8, 4)))


def fastest(work) -> float:
    def once() -> float:
        start = time.thread_time()  # the machine may be busy with other work
        work()
        return time.thread_time() - start

    return min(once() for _ in range(10))
