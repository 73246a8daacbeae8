"""Sessions from before the migration: whole ones in a cookie that Flask signed.

Both applications exchange one, once, for a record that they share.
"""

import base64
import math
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from time import time
from uuid import UUID

from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadData, URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.exc import BadPayload
from markupsafe import Markup

COOKIE = "session"

# A browser keeps about 4 kB of a cookie. What is longer is no cookie, and what unpacks to more was made to do harm.
MAX_COOKIE = 8 << 10
MAX_SESSION = 128 << 10


@dataclass(frozen=True)
class OldSession:
    """One that the browser still has."""

    claim: str  # names it, and tells nothing of it
    record: dict[str, object]  # what a record holds of it
    life: float  # seconds that it has left

    @property
    def user_id(self) -> object:
        return self.record.get("_user_id")


class OldSessions:
    """Reads them with the application's key, and the keys that it had before."""

    def __init__(self, secret_key: str, fallbacks: tuple[str, ...], ttl: int):
        interface = SecureCookieSessionInterface
        self._serializer = _Bounded(
            [*fallbacks, secret_key],
            salt=interface.salt,
            serializer=interface.serializer,
            signer_kwargs={"key_derivation": interface.key_derivation, "digest_method": interface.digest_method},
        )
        self._ttl = ttl

    def read(self, cookie: str) -> OldSession | None:
        """Returns the cookie's session, or None when it is not signed by us, too old, or none at all."""
        if not cookie or len(cookie) > MAX_COOKIE or not cookie.isascii():
            return None
        try:
            values, made = self._serializer.loads(cookie, max_age=self._ttl, return_timestamp=True)
        except BadData:
            return None
        if not isinstance(values, dict):
            return None
        signed = cookie.rpartition(".")[0]
        # Flask counts whole seconds, and accepts a cookie until its last one is over.
        life = max(made.timestamp() + self._ttl - time(), 0) + 1
        return OldSession(sha256(signed.encode()).hexdigest(), _record(values), life)


class _Bounded(URLSafeTimedSerializer):
    """Unpacks no more than a session can be."""

    def load_payload(self, payload: bytes, *args, **kwargs) -> object:
        if payload.startswith(b"."):
            inflater = zlib.decompressobj()
            try:
                content = inflater.decompress(base64_decode(payload[1:]), MAX_SESSION + 1)
            except zlib.error as error:
                raise BadPayload("not compressed", original_error=error) from error
            if len(content) > MAX_SESSION or not inflater.eof:
                raise BadPayload("too large, or cut off")
            payload = base64_encode(content)
        return super().load_payload(payload, *args, **kwargs)


class _Unfit(Exception):
    """A record cannot hold the value."""


def _record(values: dict[str, object]) -> dict[str, object]:
    """Turns a session's values into the forms that Flask-Session gives them.

    What has none, half a character or a number of more than 64 bits, is left out with its key.
    """
    record = {}
    for name, value in values.items():
        if name == "_user_id" and type(value) is int:
            value = str(value)
        try:
            record[_text(name)] = _plain(value)
        except _Unfit:
            continue
    if record:
        record |= {"migrated": True, "created_by": "python"}
    return record


def _plain(value: object) -> object:
    match value:
        case None | bool():
            return value
        case Markup() | str():
            return _text(str(value))
        case int():
            if not -(2**63) <= value < 2**64:
                raise _Unfit
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case UUID():
            return str(value)
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {_text(name): _plain(item) for name, item in value.items()}
    raise _Unfit


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _Unfit from error
    return text

