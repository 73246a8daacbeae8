"""What happens when a server that the application depends on is away."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_logger = logging.getLogger(__name__)


class Unavailable(Exception):
    """A server is away; the message says shortly what was seen of it."""


class Breaker:
    """Spares the callers of a server that is away.

    After a failure one caller at a time tries the server, and the others are refused at once until one succeeds:
    otherwise every thread would wait for a time-out, and the requests behind them for longer than one.
    """

    def __init__(self, server: str, describe: Callable[[Exception], str | None]):
        """describe says shortly what an exception tells of the server, or None when it does not mean it is away."""
        self._server = server
        self._describe = describe
        self._failure: str | None = None
        self._trying = threading.Lock()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Surrounds a call of the server; raises Unavailable when the server is away."""
        failure = self._failure
        if failure and not self._trying.acquire(blocking=False):
            raise Unavailable(failure)
        try:
            yield
            self._note(None)
        except Exception as error:
            reason = self._describe(error)
            if reason is None:
                raise
            self._note(reason)
            raise Unavailable(reason) from error
        finally:
            if failure:
                self._trying.release()

    def _note(self, failure: str | None) -> None:
        if failure and not self._failure:
            _logger.warning("%s is away: %s", self._server, failure)
        if self._failure and not failure:
            _logger.info("%s is back", self._server)
        self._failure = failure
