"""Counts requests, for Prometheus, and writes a line about each to the log."""

import logging
import os
import re
from time import monotonic

from flask import Blueprint, Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from p2k16 import trace

SERVICE = "python"
UNMATCHED = "other"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# What an answer can be. (To a route that is not known or a method that it has not: see UNMATCHED.)
STATUSES = (200, 201, 302, 303, 308, 400, 401, 403, 404, 409, 413, 500, 503)

# Asked every second or two by machines: a line for each would bury the others.
QUIET_ROUTES = ("/health", "/metrics")

# Whoever reads such a path may do what it is for.
SECRET_ROUTES = ("/api/auth/reset/{token}",)

ROUTE = "p2k16.route"

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")

_logger = logging.getLogger("p2k16.request")


class Metrics:
    """The application's own metrics; each worker process counts in a file of its own."""

    def __init__(self) -> None:
        # No registry: the collector reads all processes' files.
        self._requests = Counter(
            "http_requests", "Requests answered.", ("service", "method", "route", "status"), registry=None
        )
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ("service", "method", "route"),
            buckets=BUCKETS,
            registry=None,
        )
        self._memory = Gauge(
            "process_resident_memory_bytes",
            "Resident memory of the worker processes.",
            multiprocess_mode="livesum",
            registry=None,
        )
        self._memory_read = 0.0

    def declare(self, method: str, route: str) -> None:
        """Makes a route's series exist before its first request, so that an increase from 0 is seen."""
        for status in STATUSES:
            self._requests.labels(SERVICE, method, route, status)
        self._duration.labels(SERVICE, method, route)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in METHODS else UNMATCHED
        self._requests.labels(SERVICE, method, route, status).inc()
        self._duration.labels(SERVICE, method, route).observe(seconds)
        self.read_memory()

    def read_memory(self) -> None:
        """Notes this process's memory, at most once a second."""
        now = monotonic()
        if now - self._memory_read < 1:
            return
        self._memory_read = now
        with open("/proc/self/statm", encoding="ascii") as statm:
            resident_pages = int(statm.read().split()[1])
        self._memory.set(resident_pages * os.sysconf("SC_PAGE_SIZE"))

    @staticmethod
    def text() -> bytes:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)


class Observer:
    """WSGI middleware that counts and logs every answer as it leaves, whatever made it."""

    def __init__(self, wsgi_app, metrics: Metrics):
        self._wsgi_app = wsgi_app
        self._metrics = metrics

    def __call__(self, environ, start_response):
        started = monotonic()
        status = 500

        def note_status(line, headers, exc_info=None):
            nonlocal status
            status = int(line.split(" ", 1)[0])
            return start_response(line, headers, exc_info)

        try:
            return self._wsgi_app(environ, note_status)
        finally:
            self._observe(environ, status, monotonic() - started)

    def _observe(self, environ, status: int, seconds: float) -> None:
        method = environ["REQUEST_METHOD"]
        route = environ.get(ROUTE, UNMATCHED)
        self._metrics.count(method, route, status, seconds)
        if route in QUIET_ROUTES and status == 200:
            return
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        _logger.info(
            "request",
            extra={
                "request_id": trace.request_id(environ),
                "method": method,
                "path": route if route in SECRET_ROUTES else path,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
            },
        )


def observe(app: Flask, metrics: Metrics) -> None:
    """Has everything that the application answers counted. Call it when all routes are known."""

    @app.before_request
    def note_route() -> None:
        if request.url_rule:
            request.environ[ROUTE] = pattern(request.url_rule.rule)

    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            metrics.declare(method, pattern(rule.rule))
    app.wsgi_app = Observer(app.wsgi_app, metrics)


def blueprint(metrics: Metrics) -> Blueprint:
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.text(), content_type=CONTENT_TYPE_LATEST)

    return routes


def pattern(rule: str) -> str:
    """Writes Flask's "/users/<int:id>" as "/users/{id}"."""
    return _PARAMETER.sub(r"{\1}", rule)
