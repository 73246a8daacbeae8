"""Logging in and out, for programs (JSON) and for the forms of our own pages."""

import re
from time import monotonic
from typing import Literal

import flask_login
import msgspec
from flask import Blueprint, Flask, Response, current_app, g, render_template, request, session
from flask_login import current_user, login_required, login_user

from p2k16 import answers, bodies, circles, errors, ids, passwords, remember, sessions
from p2k16.accounts import Account, Accounts
from p2k16.database import Database
from p2k16.logins import Logins
from p2k16.outage import Unavailable
from p2k16.throttle import Throttle

WRONG = "Invalid username or password."
INCOMPLETE = "Username and password are required."
TOO_MANY = "Too many failed logins. Try again later."

HOME = "/dashboard"

# Starts on this host ("//" and "/\" would not) and holds nothing that a browser would strip or an address cannot have.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-~]*", re.ASCII)


class LoginManager(flask_login.LoginManager):
    """Flask-Login without its remember-me cookie: the session itself looks at it, and only when it is needed."""

    def init_app(self, app: Flask, add_context_processor: bool = False) -> None:
        app.login_manager = self

    def _load_user_from_remember_cookie(self, cookie: str) -> None:
        return None


def login_manager(accounts: Accounts) -> LoginManager:
    manager = LoginManager()

    @manager.user_loader
    def load(id: object) -> Account | None:
        if not (isinstance(id, str) and id.isascii() and id.isdecimal()):
            return None
        account = accounts.by_id(int(id))
        return account if account and account.enabled else None

    @manager.unauthorized_handler
    def unauthorized() -> Response:
        if request.path.startswith("/api/"):
            return errors.answer(401)
        return answers.redirect(f"/login?next={request.path}", 302)

    return manager


class Credentials(msgspec.Struct):
    """What someone logs in with: the username or the email, in either of the two."""

    username: str | None = None
    email: str | None = None
    password: str | None = None
    remember: bool = False

    @property
    def name(self) -> str:
        return self.username or self.email or ""


def blueprint(
    database: Database,
    accounts: Accounts,
    logins: Logins,
    throttle: Throttle,
    checker: passwords.Checker,
) -> Blueprint:
    routes = Blueprint("auth", __name__, url_prefix="/api/auth")

    @routes.post("/login")
    def login() -> Response:
        credentials = _credentials()
        if not credentials.name or not credentials.password:
            return _refusal(INCOMPLETE, 400)
        if wait := throttle.attempt(credentials.name):
            response = _refusal(TOO_MANY, 429)
            response.headers["Retry-After"] = str(wait)
            return response
        began = monotonic()
        try:
            account = accounts.by_login(credentials.name)
        except Unavailable:
            throttle.give_back(credentials.name)
            raise
        right = checker.verify(credentials.password, account.password_hash if account else None)
        if not (account and right and account.enabled):
            checker.pause(began)
            return _refusal(WRONG, 401)
        throttle.succeeded(credentials.name)
        _start_session(account, logins, credentials.remember)
        if errors.came_from_a_page():
            return answers.redirect(local_path(request.form.get("next", "")), 303)
        return answers.success({"user": account.to_json()})

    @routes.post("/logout")
    def logout() -> Response:
        if session.id and (account_id := _id_in_session()) is not None:
            logins.end(session.id, account_id)
        current_app.session_interface.give_up(session)
        g.visit.forget = bool(g.visit.token)
        session.end()
        return answers.redirect("/login", 303) if errors.came_from_a_page() else answers.success(None)

    @routes.get("/me")
    @login_required
    def me() -> Response:
        administrator = circles.is_administrator(database, current_user.id)
        return answers.success({"user": current_user.to_json(), "administrator": administrator})

    return routes


def local_path(path: str) -> str:
    """Returns where to go after a login: the path if it stays on this host, else the dashboard."""
    return path if _LOCAL_PATH.fullmatch(path) else HOME


def _credentials() -> Credentials:
    if errors.came_from_a_page():
        form = request.form
        return Credentials(
            username=form.get("username"), password=form.get("password"), remember=bool(form.get("remember"))
        )
    return bodies.read(Credentials)


def _refusal(message: str, status: Literal[400, 401, 429]) -> Response:
    if not errors.came_from_a_page():
        return answers.failure(message, status)
    page = render_template(
        "login.html",
        message=message,
        username=request.form.get("username", ""),
        next=local_path(request.form.get("next", "")),
    )
    return Response(page, status)


def _start_session(account: Account, logins: Logins, remembered: bool) -> None:
    before = session.get("_user_id")
    current_app.session_interface.give_up(session)
    id = sessions.new_id()
    logins.start(id, account.id)
    session.renew(id)
    # What the visitor collected before the login stays; what belonged to someone else does not.
    if before not in (None, account.get_id()):
        session.clear()
    login_user(account)
    session["_permanent"] = True
    session["created_by"] = "python"
    session.pop("migrated", None)
    session.announced = True
    visit = g.visit
    visit.upgrade(account.get_id())
    if remembered:
        visit.remember = remember.token_of(account.get_id(), current_app.secret_key)
    visit.forget = bool(visit.token) and not visit.remember


def _id_in_session() -> int | None:
    """Returns the account that the session is of, whether or not it still exists."""
    text = session.get("_user_id")
    id = ids.parse(text) if isinstance(text, str) else None
    return id if id is not None and id <= ids.MAX_ID else None

