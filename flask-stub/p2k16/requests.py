"""Requests as clients really send them, also bad ones."""

from io import BytesIO
from typing import IO

import flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.utils import cached_property

MAX_BODY_BYTES = 64 * 1024


class Request(flask.Request):
    """A request on which the framework fails neither for what is in the address nor for how the body is sent."""

    def __init__(self, environ, *arguments, **options):
        # The framework answers 500 to bytes that are not UTF-8, unless they are quoted.
        environ["QUERY_STRING"] = _quoted(environ.get("QUERY_STRING", ""))
        super().__init__(environ, *arguments, **options)

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body. The framework would cut one off that comes in chunks, and refuse parts of just the limit."""
        if (self.content_length or 0) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge
        body = self.environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge
        return BytesIO(body)


def _quoted(query: str) -> str:
    """Quotes what is not ASCII, as the client should have done."""
    if query.isascii():
        return query
    return "".join(byte if byte.isascii() else f"%{ord(byte):02X}" for byte in query)
