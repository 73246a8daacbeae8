"""Puts the application together."""

from dataclasses import dataclass

from flask import Flask, Response, request

from p2k16 import auth, badges, errors, health, memberships, metrics, pages, passwords, reset, sessions, tools, users
from p2k16.accounts import Accounts
from p2k16.before import OldSessions
from p2k16.config import THREADS, Config
from p2k16.database import Database
from p2k16.hook import Hook
from p2k16.jobs import Expiry
from p2k16.logins import Logins
from p2k16.mail import Mail
from p2k16.memberships import Memberships
from p2k16.outage import Breaker
from p2k16.requests import Request
from p2k16.throttle import Throttle
from p2k16.tools import Tools


@dataclass(frozen=True)
class Process:
    """What a worker process opens after it was forked, and closes when it ends."""

    database: Database
    metrics: metrics.Metrics
    expiry: Expiry | None

    def open(self) -> None:
        self.database.open()
        self.metrics.read_memory()
        if self.expiry:
            self.expiry.start()

    def close(self) -> None:
        if self.expiry:
            self.expiry.stop()
        self.database.close()


def create_app(config: Config) -> Flask:
    """Returns the application; it connects to nothing yet."""
    app = Flask(__package__)
    app.request_class = Request
    app.config.update(
        SECRET_KEY=config.secret_key,
        SESSION_COOKIE_NAME="session_id",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=config.cookie_secure,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    app.url_map.merge_slashes = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    database = Database(config.database_url, config.database_password, config.time_zone, size=THREADS + 1)
    accounts = Accounts(database)
    redis, breaker = sessions.connect(config.redis_url, config.redis_password), Breaker("redis", sessions.describe)
    app.session_interface = sessions.SharedSessionInterface(
        app,
        redis,
        config.session_ttl,
        OldSessions(config.secret_key, config.secret_key_fallbacks, config.old_session_ttl),
        breaker,
    )
    auth.login_manager(accounts).init_app(app)

    kept_tools = Tools(database)
    kept_memberships = Memberships(database)
    counts = metrics.Metrics()
    app.register_blueprint(
        auth.blueprint(
            database,
            accounts,
            Logins(database, config.session_ttl),
            Throttle(redis, breaker, config.login_failures),
            passwords.Checker(config.bcrypt_cost),
        )
    )
    app.register_blueprint(
        reset.blueprint(
            reset.Reset(
                database,
                accounts,
                reset.Links(config.secret_key, config.secret_key_fallbacks, config.reset_ttl),
                Mail(config.smtp_host, config.smtp_port),
                config.public_url,
                config.bcrypt_cost,
            )
        )
    )
    app.register_blueprint(users.blueprint(database, accounts, config.bcrypt_cost))
    app.register_blueprint(badges.blueprint(database))
    app.register_blueprint(tools.blueprint(kept_tools, Hook(config.hook_url)))
    app.register_blueprint(memberships.blueprint(database, kept_memberships))
    app.register_blueprint(pages.blueprint(database, accounts, kept_tools, kept_memberships))
    app.register_blueprint(health.blueprint(database, app.session_interface))
    app.register_blueprint(metrics.blueprint(counts))
    errors.register(app)
    metrics.observe(app, counts)

    @app.after_request
    def forbid_storing(response: Response) -> Response:
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response

    app.extensions["p2k16"] = Process(database, counts, Expiry(database, config.job_interval) if config.jobs else None)
    return app
