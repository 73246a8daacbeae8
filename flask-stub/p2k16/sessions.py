"""Sessions that two applications share: one Redis record each, of the form that Flask-Session gives it.

What differs from Flask-Session: a record is read when it is first looked at, one that was not changed is not written,
and a changed one is written over nothing but what was read. So a slow request neither undoes what the other
application wrote meanwhile nor brings a session back that it ended.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
from flask import Flask, Request, Response, request
from flask.sessions import SessionMixin
from flask_session.redis import RedisSessionInterface
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

from p2k16 import errors
from p2k16.outage import Breaker, Unavailable

COMMAND_LIMIT = 0.7
MERGE_ATTEMPTS = 10

# Writes ARGV[2] in place of ARGV[1]. Returns the record as it is then: another value if another writer was quicker,
# nothing if it is gone.
REPLACE = """
local current = redis.call('GET', KEYS[1])
if current == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
    return ARGV[2]
end
return current
"""

# Writes a record under an id that must be new, and deletes the one under the old id, if there is one.
CREATE = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then
    return 0
end
if KEYS[2] then
    redis.call('DEL', KEYS[2])
end
return 1
"""

_ID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

_logger = logging.getLogger(__name__)

type Values = dict[str, object]


def connect(url: str, password: str) -> Redis:
    """Returns a client that gives up soon, and connects when it is first used."""
    return Redis.from_url(
        url,
        password=password,
        socket_connect_timeout=COMMAND_LIMIT,
        socket_timeout=COMMAND_LIMIT,
        socket_keepalive=True,
        # Once, for a connection that Redis closed while it was idle. What timed out is not worth another wait.
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )


@dataclass(frozen=True)
class Changes:
    """What a request did to a session."""

    changed: Values
    removed: frozenset[str]

    @classmethod
    def between(cls, before: Values, after: Values) -> "Changes":
        changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
        return cls(changed, frozenset(before.keys() - after.keys()))

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)

    def applied_to(self, values: Values) -> Values:
        return {key: value for key, value in values.items() if key not in self.removed} | self.changed


class SharedSession(SessionMixin):
    """One request's view of a session, read when it is first looked at."""

    def __init__(self, id: str | None, read: Callable[[str], bytes | None]):
        self.id = id
        self.record: bytes | None = None
        self.new_id: str | None = None
        self.ended = False
        self._read = read
        self._values: Values | None = None

    def renew(self, id: str) -> None:
        """Gives the session another id, so that an id planted before a login is worth nothing after it."""
        self.new_id = id

    def end(self) -> None:
        """Deletes the session, whatever it holds."""
        self.ended = True
        self._values = {}

    @property
    def was_read(self) -> bool:
        return self._values is not None

    def _loaded(self) -> Values:
        if self._values is None:
            self.record = self._read(self.id) if self.id else None
            self._values = decode(self.record) if self.record else {}
        return self._values

    def __getitem__(self, key: str) -> object:
        return self._loaded()[key]

    def __setitem__(self, key: str, value: object) -> None:
        self._loaded()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._loaded()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())


class SharedSessionInterface(RedisSessionInterface):
    """Flask-Session's Redis sessions, safe to share with another application."""

    def __init__(self, app: Flask, client: Redis, ttl: int):
        super().__init__(app, client=client, serialization_format="json")
        self._ttl = ttl
        self._replace = client.register_script(REPLACE)
        self._create = client.register_script(CREATE)
        self._breaker = Breaker("redis", _describe)

    def ping(self) -> None:
        """Raises Unavailable when Redis is away."""
        with self._breaker.call():
            self.client.ping()

    def get_cookie_secure(self, app: Flask) -> bool:
        """Says whether cookies are Secure: always, or where the edge says that the request came over TLS."""
        return super().get_cookie_secure(app) or request.headers.get("X-Forwarded-Proto") == "https"

    def open_session(self, app: Flask, request: Request) -> SharedSession:
        id = request.cookies.get(self.get_cookie_name(app), "")
        return SharedSession(id if _ID.fullmatch(id) else None, self._read)

    def save_session(self, app: Flask, session: SharedSession, response: Response) -> None:
        try:
            id = self._save(session)
        except Unavailable:
            errors.replace(response, 503)
            return
        cookie = {
            "key": self.get_cookie_name(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
        }
        if session.ended:
            response.delete_cookie(**cookie)
        elif id:
            response.set_cookie(value=id, max_age=self._ttl, **cookie)

    def _save(self, session: SharedSession) -> str | None:
        """Brings the store up to date; returns the id of the session if there is one now."""
        if session.ended:
            self._delete(session.id)
            return None
        if not session.was_read:
            return None
        if session.new_id or (session and not session.record):
            return self._store_anew(session)
        if not session.record:
            return None
        changes = Changes.between(decode(session.record), dict(session))
        lives = self._merge(session.id, session.record, changes) if changes else self._touch(session.id)
        return session.id if lives else None

    def _read(self, id: str) -> bytes | None:
        with self._breaker.call():
            record = self.client.get(self._get_store_id(id))
        if record is not None and not _is_object(record):
            _logger.warning("a session record that is not a JSON object was ignored")
            return None
        return record

    def _touch(self, id: str) -> bool:
        try:
            with self._breaker.call():
                return bool(self.client.expire(self._get_store_id(id), self._ttl))
        except Unavailable:
            # The request was answered from what was read before; the next one will tell.
            return False

    def _merge(self, id: str, record: bytes, changes: Changes) -> bool:
        """Makes changes to a record; returns whether it still exists."""
        for _ in range(MERGE_ATTEMPTS):
            wanted = msgspec.json.encode(changes.applied_to(decode(record)))
            with self._breaker.call():
                current = self._replace(keys=[self._get_store_id(id)], args=[record, wanted, self._ttl])
            if current is None or current == wanted:
                return current is not None
            record = current
        raise Unavailable("other writers were always quicker")

    def _store_anew(self, session: SharedSession) -> str:
        record = msgspec.json.encode(dict(session))
        old = [self._get_store_id(session.id)] if session.id else []
        id = session.new_id or new_id()
        with self._breaker.call():
            if not self._create(keys=[self._get_store_id(id), *old], args=[record, self._ttl]):
                raise Unavailable("a session has the new id")
        return id

    def _delete(self, id: str | None) -> None:
        if id:
            with self._breaker.call():
                self._delete_session(self._get_store_id(id))


def new_id() -> str:
    """Returns an id that no session has."""
    return secrets.token_urlsafe(32)


def decode(record: bytes) -> Values:
    return msgspec.json.decode(record, type=dict)


def _is_object(record: bytes) -> bool:
    try:
        decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _describe(error: Exception) -> str | None:
    match error:
        case ConnectionError():
            return "no connection"
        case TimeoutError():
            return "timed out"
    return None
