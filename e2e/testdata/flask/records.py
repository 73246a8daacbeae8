"""Tells for each record, base64 on a line, whether Flask-Session's JSON codec finds a session in it, and which."""

import base64
import sys

import msgspec
from flask import Flask
from flask_session.base import MsgSpecSerializer

decoder = MsgSpecSerializer(Flask("records"), "json").decoder

for line in sys.stdin.buffer:
    try:
        found = decoder.decode(base64.b64decode(line))
        print("yes" if isinstance(found, dict) else "no")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        print("no")
