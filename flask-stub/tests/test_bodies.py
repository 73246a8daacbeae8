import unittest

import msgspec
from flask import Flask
from msgspec import UNSET, UnsetType

from p2k16 import bodies
from p2k16.errors import Refused


class Thing(msgspec.Struct):
    text: str | UnsetType = UNSET
    nullable: str | None | UnsetType = UNSET
    number: bodies.Integer | UnsetType = UNSET
    flag: bool | UnsetType = UNSET


class ReadTest(unittest.TestCase):
    def read(self, body) -> Thing:
        with Flask("test").test_request_context("/", method="POST", data=body):
            return bodies.read(Thing)

    def test_what_is_not_given_is_unset(self):
        self.assertEqual(self.read("{}"), Thing())
        self.assertEqual(self.read(' {"other": [1e999], "nullable": null} '), Thing(nullable=None))

    def test_integers_have_64_bits(self):
        for number in (0, -1, 2**63 - 1, -(2**63)):
            with self.subTest(number):
                self.assertEqual(self.read('{"number": %d}' % number).number, number)

    def test_the_last_of_two_wins(self):
        self.assertEqual(self.read('{"text": "a", "text": "b"}').text, "b")

    def test_wrong_types_are_refused(self):
        for body in (
            *('{"number": %s}' % number for number in ("1.0", "1e3", '"5"', "true", "null")),
            *('{"number": %d}' % number for number in (2**63, -(2**63) - 1, 10**4000)),
            *('{"flag": %s}' % flag for flag in ("1", '"true"', "null")),
            *('{"text": %s}' % text for text in ("1", "null", "[]", r'"\ud800"')),
            '{"text": 1, "text": "a"}',
        ):
            with self.subTest(body[:40]):
                self.refuse(body)

    def test_what_is_no_object_is_refused(self):
        for body in ("", "x", "[]", "null", '"x"', "{}{}", "\ufeff{}", "{", b'{"text": "\xff"}', "[" * 60_000):
            with self.subTest(body[:20]):
                self.refuse(body)

    def refuse(self, body):
        with self.assertRaises(Refused) as caught:
            self.read(body)
        self.assertEqual((caught.exception.status, caught.exception.message), (400, bodies.MALFORMED))
