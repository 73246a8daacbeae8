"""The application's settings, read once from the environment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import psycopg
from psycopg.conninfo import conninfo_to_dict

# Of each worker process, for requests; the jobs have one more. Each needs one database connection at a time.
THREADS = 16


class ConfigError(ValueError):
    """A variable of the environment is missing or malformed; the message names it."""


@dataclass(frozen=True)
class Config:
    """Everything the environment decides."""

    database_url: str
    database_password: str = field(repr=False)
    redis_url: str
    redis_password: str = field(repr=False)
    secret_key: str = field(repr=False)
    secret_key_fallbacks: tuple[str, ...] = field(repr=False)
    old_session_ttl: int
    login_failures: int
    session_ttl: int
    cookie_secure: bool
    time_zone: str
    smtp_host: str
    smtp_port: int
    hook_url: str
    public_url: str
    bcrypt_cost: int
    reset_ttl: int
    jobs: bool
    job_interval: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Config":
        def read[T](name: str, parse: Callable[[str], T], default: str | None = None) -> T:
            text = environment.get(name, default)
            if text is None:
                raise ConfigError(f"{name} is not set")
            try:
                return parse(text)
            except ValueError as error:
                raise ConfigError(f"{name}: {error}") from error

        smtp_host, smtp_port = read("SMTP_ADDR", _address)
        return cls(
            database_url=read("DATABASE_URL", _database_url),
            database_password=read("DATABASE_PASSWORD_FILE", _secret),
            redis_url=read("REDIS_URL", _redis_url),
            redis_password=read("REDIS_PASSWORD_FILE", _secret),
            secret_key=read("SECRET_KEY_FILE", _secret),
            secret_key_fallbacks=read("SECRET_KEY_FALLBACKS_FILE", _secrets, ""),
            old_session_ttl=read("OLD_SESSION_TTL", _seconds, str(31 * 24 * 60 * 60)),
            login_failures=read("LOGIN_FAILURES", _count, "20"),
            session_ttl=read("SESSION_TTL", _seconds, "3600"),
            cookie_secure=read("COOKIE_SECURE", _boolean, "true"),
            time_zone=read("TZ", _time_zone, "Europe/Oslo"),
            smtp_host=smtp_host,
            smtp_port=smtp_port,
            hook_url=read("HOOK_URL", _http_url),
            public_url=read("PUBLIC_URL", _public_url),
            bcrypt_cost=read("BCRYPT_COST", _bcrypt_cost, "12"),
            reset_ttl=read("RESET_TTL", _seconds, "3600"),
            jobs=read("JOBS", _boolean, "false"),
            job_interval=read("JOB_INTERVAL", _seconds, "5"),
        )


def _database_url(text: str) -> str:
    wanted = f"{text!r} is not of the form postgres://user@host:port/database"
    try:
        parts = conninfo_to_dict(text)
    except psycopg.Error as error:
        raise ValueError(wanted) from error
    if not text.startswith(("postgres://", "postgresql://")) or not {"user", "host", "dbname"} <= parts.keys():
        raise ValueError(wanted)
    if not str(parts.get("port", 5432)).isdecimal():
        raise ValueError(wanted)
    return text


def _redis_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme != "redis" or not url.hostname or not url.path[1:].isdecimal():
        raise ValueError(f"{text!r} is not of the form redis://host:port/database")
    url.port  # raises ValueError when it is not a port
    return text


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} is not of the form host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _http_url(text: str, schemes: tuple[str, ...] = ("http",)) -> str:
    wanted = " or ".join(f"{scheme}://host:port" for scheme in schemes)
    url = urlsplit(text)
    if url.scheme not in schemes or not url.hostname or url.query or url.fragment or not text.isprintable():
        raise ValueError(f"{text!r} is not of the form {wanted}")
    url.port  # raises ValueError when it is not a port
    return text


def _public_url(text: str) -> str:
    if text.endswith("/"):
        raise ValueError(f"{text!r} ends with a slash")
    return _http_url(text, ("http", "https"))


def _bcrypt_cost(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 4 <= int(text) <= 14):
        raise ValueError(f"{text!r} is not a number from 4 to 14")
    return int(text)


def _secret(path: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if not secret:
        raise ValueError(f"{path} is empty")
    return secret


def _secrets(path: str) -> tuple[str, ...]:
    return tuple(line for line in _secret(path).splitlines() if line) if path else ()


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{text!r} is not a positive number of seconds")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{text!r} is not a number above 0")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError) as error:
        raise ValueError(f"{text!r} is not a time zone") from error
    except KeyError as error:
        raise ValueError(f"{text!r} is not a known time zone") from error
    return text
