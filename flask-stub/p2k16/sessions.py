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
from functools import partial

import msgspec
from flask import Flask, Request, Response, g
from flask.sessions import SessionMixin
from flask_session.redis import RedisSessionInterface
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

from p2k16 import before, cookies, errors, remember
from p2k16.before import OldSession, OldSessions
from p2k16.outage import Breaker, Unavailable

COMMAND_LIMIT = 0.7
MERGE_ATTEMPTS = 10

# Lets KEYS[1] live for at least ttl seconds: a session from before the migration keeps a longer life.
_PROLONG = """
local left = redis.call('TTL', KEYS[1])
if left >= 0 and left < tonumber(ttl) then
    redis.call('EXPIRE', KEYS[1], ttl)
    left = tonumber(ttl)
end
"""

# Returns for how many seconds the record lives now, -2 if it is gone.
TOUCH = f"local ttl = ARGV[1] {_PROLONG} return left"

# Writes ARGV[2] in place of ARGV[1]. Returns the record as it was, another value if another writer was quicker, and for
# how many seconds it lives now; nothing if it is gone.
REPLACE = f"""
local current, ttl = redis.call('GET', KEYS[1]), ARGV[3]
if not current then
    return false
end
if current ~= ARGV[1] then
    return {{current, 0}}
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
{_PROLONG}
return {{current, left}}
"""

# Writes a record under an id that must be new, and ends the one under the old id, if there is one: the mark tells that
# it did not expire.
CREATE = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then
    return 0
end
if KEYS[2] then
    redis.call('DEL', KEYS[2])
    redis.call('SET', KEYS[3], '', 'EX', ARGV[2])
end
return 1
"""

# Exchanges a session from before the migration for a record, once. Returns the record's key: an older one if the session
# was exchanged before, nothing if it was given up. Without a record it gives the session up.
CLAIM = """
local owner = redis.call('GET', KEYS[1])
if owner then
    return owner
end
local key = KEYS[2] or ''
redis.call('SET', KEYS[1], key, 'PX', ARGV[2])
if KEYS[2] then
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
return key
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

    def __init__(self, id: str | None, read: Callable[[str], bytes | None], restore: "Restore | None" = None):
        self.id = id
        self.record: bytes | None = None
        self.new_id: str | None = None
        self.ended = False
        # The session is new to the browser, which gets its user's cookie too.
        self.announced = False
        self._read = read
        self._restore = restore
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

    @property
    def user_id(self) -> str | None:
        user_id = self.get("_user_id")
        return user_id if isinstance(user_id, str) else None

    def _loaded(self) -> Values:
        if self._values is None:
            self.record = self._read(self.id) if self.id else None
            values: Values = {}
            if self._restore:
                self.id, self.record, values, self.announced = self._restore(self.id, self.record)
            self._values = decode(self.record) if self.record else values
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


type Restore = Callable[[str | None, bytes | None], tuple[str | None, bytes | None, Values, bool]]


@dataclass
class Visit:
    """What else than its session's id a browser brought, and what it is to be told."""

    old: OldSession | None
    token: str
    user: str | None  # whom the token is of
    drop_old: bool = False
    remember: str = ""  # a token that is to be sent
    forget: bool = False

    def upgrade(self, user: str | None) -> None:
        """Has the token sent again, with our attributes, when a browser gets a new session.

        The legacy system's came along on links from other sites, where session_id does not, and would replace the live
        session there.
        """
        self.remember = self.token if user and user == self.user else ""


class SharedSessionInterface(RedisSessionInterface):
    """Flask-Session's Redis sessions, safe to share with another application."""

    def __init__(self, app: Flask, client: Redis, ttl: int, old_sessions: OldSessions, breaker: Breaker):
        super().__init__(app, client=client, serialization_format="json")
        self._ttl = ttl
        self._old_sessions = old_sessions
        self._touch_script = client.register_script(TOUCH)
        self._replace = client.register_script(REPLACE)
        self._create = client.register_script(CREATE)
        self._claim_script = client.register_script(CLAIM)
        self._breaker = breaker

    def ping(self) -> None:
        """Raises Unavailable when Redis is away."""
        with self._breaker.call():
            self.client.ping()

    def open_session(self, app: Flask, request: Request) -> SharedSession:
        id = request.cookies.get(self.get_cookie_name(app), "")
        token = request.cookies.get(remember.COOKIE, "")
        old = self._old_sessions.read(request.cookies.get(before.COOKIE, ""))
        g.visit = visit = Visit(old, token, remember.user_of(token, app.secret_key))
        restore = partial(self._restore, visit) if old or visit.user else None
        return SharedSession(id if _ID.fullmatch(id) else None, self._read, restore)

    def save_session(self, app: Flask, session: SharedSession, response: Response) -> None:
        try:
            life = self._save(session)
        except Unavailable:
            errors.replace(response, 503)
            return
        cookie = cookies.attributes(app)
        if session.ended:
            response.delete_cookie(self.get_cookie_name(app), **cookie)
            response.delete_cookie(cookies.USER, **cookie)
        elif life:
            response.set_cookie(self.get_cookie_name(app), session.new_id or session.id, max_age=life, **cookie)
            if session.announced and session.user_id:
                response.set_cookie(cookies.USER, session.user_id, **cookie)
        elif session.record:
            return  # it is gone; the browser may have a newer one by now
        visit: Visit = g.visit
        if visit.drop_old:
            response.delete_cookie(before.COOKIE, **cookie)
        if visit.forget:
            response.delete_cookie(remember.COOKIE, **cookie)
        elif visit.remember:
            response.set_cookie(remember.COOKIE, visit.remember, max_age=remember.SECONDS, **cookie)

    def give_up(self, session: SharedSession) -> None:
        """Makes a session from before the migration worthless, and what another browser exchanged it for."""
        visit: Visit = g.visit
        if visit.old:
            visit.drop_old = True
            owner = self._claim(visit.old, None)
            if owner != session.id:  # which whoever ends the session ends, or replaces
                self._delete(owner)

    def _restore(
        self, visit: Visit, id: str | None, record: bytes | None
    ) -> tuple[str | None, bytes | None, Values, bool]:
        """Finds the session that another of the browser's cookies stands for, if there is no live one."""
        if record is not None:
            if visit.old:
                # Left over beside a live session, it would outlive that.
                visit.drop_old = True
                self._claim(visit.old, None)
            return id, record, {}, False
        if id and self._has_ended(id):
            # The request was under way while its session was ended.
            return id, None, {}, False
        if visit.old:
            visit.drop_old = True
            taken = self._claim(visit.old, new_id()) if visit.old.record else ""
            record = self._read(taken) if taken else None
            if record is not None:
                user = decode(record).get("_user_id")
                visit.upgrade(user if isinstance(user, str) else None)
                return taken, record, {}, True
        if visit.user:
            visit.remember = visit.token
            return id, None, remember.session_of(visit.user), True
        return id, None, {}, False

    def _save(self, session: SharedSession) -> int:
        """Brings the store up to date; returns for how many seconds the session lives, 0 if there is none."""
        if session.ended:
            self._delete(session.id)
            return 0
        if not session.was_read:
            return 0
        if session.new_id or (session and not session.record):
            return self._store_anew(session)
        if not session.record:
            return 0
        changes = Changes.between(decode(session.record), dict(session))
        return self._merge(session.id, session.record, changes) if changes else self._touch(session.id)

    def _read(self, id: str) -> bytes | None:
        with self._breaker.call():
            record = self.client.get(self._get_store_id(id))
        if record is not None and not _is_object(record):
            _logger.warning("a session record that is not a JSON object was ignored")
            return None
        return record

    def _has_ended(self, id: str) -> bool:
        with self._breaker.call():
            return bool(self.client.exists(_mark(id)))

    def _touch(self, id: str) -> int:
        try:
            with self._breaker.call():
                return self._life(self._touch_script(keys=[self._get_store_id(id)], args=[self._ttl]))
        except Unavailable:
            # The request was answered from what was read before; the next one will tell.
            return 0

    def _merge(self, id: str, record: bytes, changes: Changes) -> int:
        """Makes changes to a record; returns for how many seconds it lives, 0 if it is gone."""
        for _ in range(MERGE_ATTEMPTS):
            # What this system did not change stays as it was written.
            wanted = msgspec.json.encode(changes.applied_to(msgspec.json.decode(record, type=dict[str, msgspec.Raw])))
            with self._breaker.call():
                answer = self._replace(keys=[self._get_store_id(id)], args=[record, wanted, self._ttl])
            if answer is None:
                return 0
            current, left = answer
            if current == record:
                return self._life(left)
            record = current
        raise Unavailable("other writers were always quicker")

    def _life(self, left: int) -> int:
        """Reads what TTL answers: -2 for a key that is gone, -1 for one that somebody let live for ever."""
        if left == -2:
            return 0
        return self._ttl if left == -1 else max(left, 1)

    def _store_anew(self, session: SharedSession) -> int:
        record = msgspec.json.encode(dict(session))
        old = [self._get_store_id(session.id), _mark(session.id)] if session.id else []
        session.new_id = session.new_id or new_id()
        with self._breaker.call():
            if not self._create(keys=[self._get_store_id(session.new_id), *old], args=[record, self._ttl]):
                raise Unavailable("a session has the new id")
        return self._ttl

    def _claim(self, old: OldSession, id: str | None) -> str:
        """Exchanges an old session for a record with this id; returns the id that counts, "" if it was given up."""
        record = [self._get_store_id(id)] if id else []
        with self._breaker.call():
            owner = self._claim_script(
                keys=[f"bridged:{old.claim}", *record], args=[msgspec.json.encode(old.record), int(old.life * 1000)]
            )
        return owner.decode().removeprefix(self.key_prefix)

    def _delete(self, id: str | None) -> None:
        if id:
            with self._breaker.call(), self.client.pipeline() as pipeline:
                pipeline.delete(self._get_store_id(id))
                pipeline.set(_mark(id), "", ex=self._ttl)
                pipeline.execute()


def new_id() -> str:
    """Returns an id that no session has."""
    return secrets.token_urlsafe(32)


def _mark(id: str) -> str:
    """Where it is noted that a session was ended, for as long as its cookie may still come."""
    return f"ended:{id}"


def decode(record: bytes) -> Values:
    return msgspec.json.decode(record, type=dict)


def _is_object(record: bytes) -> bool:
    try:
        decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def describe(error: Exception) -> str | None:
    """Says shortly what an exception tells of Redis, or None when it does not mean that it is away."""
    match error:
        case ConnectionError():
            return "no connection"
        case TimeoutError():
            return "timed out"
    return None
