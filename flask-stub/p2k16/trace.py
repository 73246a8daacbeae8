"""The id by which a request is known in both systems' logs, events and messages."""

import re
import secrets

from flask import request

MAX_RECORDED = 200

_ENVIRON = "p2k16.request_id"
_GOOD = re.compile(r"[!-~]{1,128}", re.ASCII)


def request_id(environ) -> str:
    """Returns the id that the edge gave the request, else a new one, the same each time."""
    id = environ.get(_ENVIRON)
    if id is None:
        id = environ.get("HTTP_X_REQUEST_ID", "")
        environ[_ENVIRON] = id = id if _GOOD.fullmatch(id) else secrets.token_hex(16)
    return id


def current() -> str:
    """Returns the current request's id, fit for a header."""
    return request_id(request.environ)


def recorded() -> str | None:
    """Returns the id that the current request came with, whatever it is, as far as the audit trail keeps it."""
    return request.headers.get("X-Request-ID", "")[:MAX_RECORDED] or None
