"""Tells another system that a tool went out or came back."""

import http.client
import logging
from time import monotonic
from urllib.parse import urlsplit

import msgspec

from p2k16 import trace

LIMIT = 1.0

_logger = logging.getLogger(__name__)


class Hook:
    """Where it is told."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self._host = parts.hostname
        self._port = parts.port
        self._path = f"{parts.path.rstrip('/')}/tools"

    def tell(self, tool_id: int, account_id: int, action: str) -> None:
        """Tells what an account did with a tool. What is done is done: a failure is only logged."""
        body = msgspec.json.encode({"tool": tool_id, "account": account_id, "action": action})
        try:
            status = self._post(body)
        except (OSError, http.client.HTTPException) as error:
            _logger.warning("the hook was not told of a %s: %s", action, error or type(error).__name__)
            return
        if not 200 <= status < 300:
            _logger.warning("the hook answered a %s with status %d", action, status)

    def _post(self, body: bytes) -> int:
        deadline = monotonic() + LIMIT
        connection = http.client.HTTPConnection(self._host, self._port, timeout=LIMIT)
        try:
            connection.connect()
            connection.sock.settimeout(max(0.001, deadline - monotonic()))
            headers = {"Content-Type": "application/json", "X-Request-ID": trace.current()}
            connection.request("POST", self._path, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()
