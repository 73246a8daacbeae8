"""Says whether the application can do its work."""

from flask import Blueprint, Response

from p2k16 import answers
from p2k16.database import Database
from p2k16.outage import Unavailable
from p2k16.sessions import SharedSessionInterface

# Together with the limit of a Redis command less than the 1.5 s that the answer may take.
DATABASE_LIMIT = 0.6


def blueprint(database: Database, sessions: SharedSessionInterface) -> Blueprint:
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    def health() -> Response:
        checks = {
            "postgres": _check(lambda: database.query("SELECT 1", limit=DATABASE_LIMIT)),
            "redis": _check(sessions.ping),
        }
        ok = all(result == "ok" for result in checks.values())
        document = {"status": "ok" if ok else "unavailable", "service": "python", "checks": checks}
        return answers.json_answer(document, 200 if ok else 503)

    return routes


def _check(ask) -> str:
    try:
        ask()
    except Unavailable as error:
        return str(error)
    return "ok"
