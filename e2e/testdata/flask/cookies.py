"""Flask's own session cookies, for a program on the other side of stdin and stdout that makes and reads them too.

Each line is a JSON list. First come cookies of random sessions, [cookie, session], the session as Flask's serializer
writes it. Then every line that is read, a cookie of the other side, is answered with the session that Flask finds.
"""

import json
import random
import struct
import sys
import uuid
from datetime import UTC, datetime

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface
from flask_login.utils import decode_cookie, encode_cookie
from markupsafe import Markup

seed, count = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(seed)

app = Flask("cookies")
app.config.update(SECRET_KEY="the key of today", SECRET_KEY_FALLBACKS=["an older key", "å key"])
older = Flask("older")
older.config.update(SECRET_KEY="an older key")
interface = SecureCookieSessionInterface()
serializer = interface.serializer

TAGS = [" di", " t", " b", " m", " u", " d"]


def text() -> str:
    kind = rng.randrange(6)
    size = rng.choice([0, 1, 3, 20])
    if kind == 0:
        return "".join(chr(rng.randrange(0x20)) for _ in range(size))
    if kind == 1:
        return "".join(chr(rng.randrange(0xD800, 0xE000)) for _ in range(size))
    if kind == 2:
        return "".join(chr(rng.randrange(0x10000, 0x110000)) for _ in range(size))
    if kind == 3:
        return "".join(chr(rng.randrange(0x80, 0xD800)) for _ in range(size))
    return "".join(rng.choice("abc_ \"\\/<>&'\x7f\u2028") for _ in range(size))


def number():
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randrange(-(2**63), 2**64)
    if kind == 1:
        return rng.randrange(-(10**40), 10**40)
    if kind == 2:
        return struct.unpack("<d", rng.randbytes(8))[0]
    if kind == 3:
        return rng.choice([0, -0.0, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, 0.1, 1e22, 1e21, float("inf"), -float("inf"), 5e-324])
    return rng.randrange(-100, 100)


def name() -> str:
    return rng.choice(TAGS + ["_user_id", "_fresh", "_id"]) if rng.random() < 0.3 else text()


def value(depth: int):
    kind = rng.randrange(14 if depth < 4 else 9)
    if kind < 2:
        return text()
    if kind < 4:
        return number()
    if kind == 4:
        return rng.choice([True, False, None])
    if kind == 5:
        return rng.randbytes(rng.randrange(40))
    if kind == 6:
        return Markup(text())
    if kind == 7:
        return uuid.UUID(bytes=rng.randbytes(16))
    if kind == 8:
        return datetime.fromtimestamp(rng.randrange(0, 2**33), UTC)
    if kind == 9:
        return tuple(value(depth + 1) for _ in range(rng.randrange(4)))
    if kind == 10:
        return [value(depth + 1) for _ in range(rng.randrange(4))]
    if kind == 11:
        return {rng.choice(TAGS): value(depth + 1)}
    return {name(): value(depth + 1) for _ in range(rng.randrange(4))}


def session() -> dict:
    found = {name(): value(0) for _ in range(rng.randrange(6))}
    if rng.random() < 0.3:
        found["long"] = text() * 30
    return found


def say(line) -> None:
    print(json.dumps(line))


def open_cookie(cookie: str):
    with app.test_request_context(headers={"Cookie": f"{interface.get_cookie_name(app)}={cookie}"}):
        return dict(interface.open_session(app, request))


sessions = [session() for _ in range(count)]
for i, made in enumerate(sessions):
    signer = older if i % 5 == 0 else app
    with signer.app_context():
        # Two halves that meet become a character when Flask reads its own cookie.
        cookie = interface.get_signing_serializer(signer).dumps(made)
        say([cookie, serializer.dumps(serializer.loads(serializer.dumps(made)))])
sys.stdout.flush()

for line in sys.stdin:
    cookie = json.loads(line)
    with app.app_context():
        say([serializer.dumps(open_cookie(cookie))])
with app.app_context():
    say([encode_cookie("42"), decode_cookie(encode_cookie("å|7"))])
