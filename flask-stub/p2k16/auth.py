"""Logging in and out, for programs (JSON) and for the forms of our own pages."""

import re
from typing import Literal

import flask_login
import msgspec
from flask import Blueprint, Flask, Response, current_app, render_template, request, session
from flask_login import current_user, login_required, login_user

from p2k16 import answers, bodies, circles, errors, ids, passwords, sessions
from p2k16.accounts import Account, Accounts
from p2k16.database import Database
from p2k16.logins import Logins

WRONG = "Invalid username or password."
INCOMPLETE = "Username and password are required."

HOME = "/dashboard"

# Starts on this host ("//" and "/\" would not) and holds nothing that a browser would strip or an address cannot have.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-~]*", re.ASCII)


class LoginManager(flask_login.LoginManager):
    """Flask-Login without its remember-me cookie, which would have it read every request's session."""

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

    @property
    def name(self) -> str:
        return self.username or self.email or ""


def blueprint(database: Database, accounts: Accounts, logins: Logins) -> Blueprint:
    routes = Blueprint("auth", __name__, url_prefix="/api/auth")

    @routes.post("/login")
    def login() -> Response:
        credentials = _credentials()
        if not credentials.name or not credentials.password:
            return _refusal(INCOMPLETE, 400)
        account = accounts.by_login(credentials.name)
        right = passwords.verify(credentials.password, account.password_hash if account else None)
        if not (account and right and account.enabled):
            return _refusal(WRONG, 401)
        _start_session(account, logins)
        if errors.came_from_a_page():
            response = answers.redirect(local_path(request.form.get("next", "")), 303)
        else:
            response = answers.success({"user": account.to_json()})
        response.set_cookie("user_id", account.get_id(), **_cookie_attributes())
        return response

    @routes.post("/logout")
    def logout() -> Response:
        if session.id and (account_id := _id_in_session()) is not None:
            logins.end(session.id, account_id)
        session.end()
        response = answers.redirect("/login", 303) if errors.came_from_a_page() else answers.success(None)
        response.delete_cookie("user_id", **_cookie_attributes())
        return response

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
        return Credentials(username=request.form.get("username"), password=request.form.get("password"))
    return bodies.read(Credentials)


def _refusal(message: str, status: Literal[400, 401]) -> Response:
    if not errors.came_from_a_page():
        return answers.failure(message, status)
    page = render_template(
        "login.html",
        message=message,
        username=request.form.get("username", ""),
        next=local_path(request.form.get("next", "")),
    )
    return Response(page, status)


def _start_session(account: Account, logins: Logins) -> None:
    before = session.get("_user_id")
    id = sessions.new_id()
    logins.start(id, account.id)
    session.renew(id)
    # What the visitor collected before the login stays; what belonged to someone else does not.
    if before not in (None, account.get_id()):
        session.clear()
    login_user(account)
    session["_permanent"] = True
    session["created_by"] = "python"


def _id_in_session() -> int | None:
    """Returns the account that the session is of, whether or not it still exists."""
    text = session.get("_user_id")
    id = ids.parse(text) if isinstance(text, str) else None
    return id if id is not None and id <= ids.MAX_ID else None


def _cookie_attributes() -> dict[str, object]:
    return {
        "path": "/",
        "secure": current_app.session_interface.get_cookie_secure(current_app),
        "httponly": True,
        "samesite": "Strict",
    }
