"""Writes the log as JSON, one object a line, to stdout."""

import json
import logging
from datetime import UTC, datetime

_EXTRAS = ("request_id", "method", "path", "route", "status", "ms")


class JsonFormatter(logging.Formatter):
    """Formats a record with the fields that a request's line has, where it has them."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": "python",
            "msg": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def config() -> dict[str, object]:
    """Returns what logging.config.dictConfig wants, for gunicorn and the application alike."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
        "root": {"level": "INFO", "handlers": ["stdout"]},
        "loggers": {
            "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
            # The pool tells of every connection that it hands out.
            "psycopg.pool": {"level": "WARNING"},
        },
    }
