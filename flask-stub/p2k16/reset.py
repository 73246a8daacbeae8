"""Choosing a new password by a link that is sent by mail."""

from dataclasses import dataclass
from hashlib import sha256

import msgspec
from flask import Blueprint, Response, render_template, request
from itsdangerous import BadData, URLSafeTimedSerializer
from msgspec import UNSET, UnsetType

from p2k16 import answers, bodies, errors, events, passwords
from p2k16.accounts import Account, Accounts
from p2k16.database import Database
from p2k16.errors import Refused
from p2k16.mail import Mail

NO_EMAIL = "An email address is required."
BAD_LINK = "The link is invalid or has expired."

SUBJECT = "Reset your password"
TEXT = """\
Hello {name},

Open this link within an hour to choose a new password:
{link}

If you did not ask for this, you need not do anything.
"""

HASH_DIGITS = 16


class Claim(msgspec.Struct, forbid_unknown_fields=True):
    """What a link says: whose it is, and of which password hash it is the end."""

    account: bodies.Integer
    hash: str


class Links:
    """Makes and reads the signed part of the links; the other system has the same key."""

    def __init__(self, secret_key: str, fallbacks: tuple[str, ...], ttl: int):
        self._serializer = URLSafeTimedSerializer([*fallbacks, secret_key], salt="password-reset")
        self._ttl = ttl

    def make(self, account: Account) -> str:
        return self._serializer.dumps({"account": account.id, "hash": _fingerprint(account)})

    def read(self, token: str) -> Claim | None:
        """Returns what the link says, or None when it is not signed by us or too old."""
        try:
            return msgspec.convert(self._serializer.loads(token, max_age=self._ttl), Claim)
        except (BadData, msgspec.ValidationError):
            return None


@dataclass(frozen=True)
class Reset:
    """The way to a new password."""

    database: Database
    accounts: Accounts
    links: Links
    mail: Mail
    public_url: str
    bcrypt_cost: int

    def ask(self, email: str) -> None:
        """Sends a link to the account with this email, if there is one that may log in."""
        account = self.accounts.by_email(email)
        if not (account and account.enabled):
            return
        with self.database.transaction() as transaction:
            events.record(transaction, None, "reset.request", {"account": account.id})
        link = f"{self.public_url}/api/auth/reset/{self.links.make(account)}"
        self.mail.send(account.email, SUBJECT, TEXT.format(name=account.display_name, link=link))

    def account_of(self, token: str) -> Account:
        """Returns whose the link is; raises Refused when it is not valid."""
        claim = self.links.read(token)
        account = self.accounts.with_password(claim.account) if claim else None
        if not (account and account.enabled and _fingerprint(account) == claim.hash):
            raise Refused(400, BAD_LINK)
        return account

    def choose(self, account: Account, password: str) -> None:
        hash = passwords.hash(password, self.bcrypt_cost)
        with self.database.transaction() as transaction:
            # The link may have been used since it was read.
            if not self.accounts.replace_password(transaction, account, hash):
                raise Refused(400, BAD_LINK)
            events.record(transaction, None, "reset", {"account": account.id})


class Question(msgspec.Struct):
    """Who forgot the password."""

    email: str | UnsetType = UNSET


class Choice(msgspec.Struct):
    """The new password."""

    password: str | UnsetType = UNSET


def blueprint(reset: Reset) -> Blueprint:
    routes = Blueprint("reset", __name__, url_prefix="/api/auth/reset")

    @routes.post("")
    def ask() -> Response:
        form = errors.came_from_a_page()
        email = request.form.get("email") if form else bodies.read(Question).email
        if not email:
            return _refusal("reset.html", NO_EMAIL)
        reset.ask(email)
        return answers.redirect("/login?reset=sent", 303) if form else answers.success(None)

    @routes.get("/<token>")
    def show(token: str) -> str:
        reset.account_of(token)
        return render_template("password.html")

    @routes.post("/<token>")
    def choose(token: str) -> Response:
        account = reset.account_of(token)
        form = errors.came_from_a_page()
        password = (request.form.get("password") if form else bodies.read(Choice).password) or None
        if not passwords.is_good(password):
            return _refusal("password.html", passwords.BAD_PASSWORD)
        reset.choose(account, password)
        return answers.redirect("/login?reset=done", 303) if form else answers.success(None)

    return routes


def _refusal(template: str, message: str) -> Response:
    if not errors.came_from_a_page():
        return answers.failure(message, 400)
    return Response(render_template(template, message=message), 400)


def _fingerprint(account: Account) -> str:
    return sha256((account.password_hash or "").encode()).hexdigest()[:HASH_DIGITS]
