"""The members, as JSON."""

from dataclasses import dataclass

import msgspec
from flask import Blueprint, Response, request
from flask_login import current_user, login_required
from msgspec import UNSET, UnsetType

from p2k16 import answers, awards, bodies, circles, events, ids, passwords, texts
from p2k16.accounts import Account, Accounts, EmailTaken
from p2k16.database import Database
from p2k16.errors import Refused
from p2k16.paging import Page

NOT_FOUND = "User not found."
BAD_NAME = "The name is not valid."
BAD_EMAIL = "The email address is not valid."
EMAIL_TAKEN = "The email address is taken."
NO_PASSWORD = "The current password is required."
WRONG_PASSWORD = "The current password is wrong."

LONGEST_NAME = 200


class Changes(msgspec.Struct):
    """What is to be changed of an account; what is not named stays."""

    name: str | None | UnsetType = UNSET
    email: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def given(self) -> dict[str, object]:
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}

    def check(self) -> None:
        """Raises Refused when a value is not valid."""
        if isinstance(self.name, str) and not texts.is_line(self.name, LONGEST_NAME):
            raise Refused(400, BAD_NAME)
        if self.email is not UNSET and not texts.is_email(self.email):
            raise Refused(400, BAD_EMAIL)


class PasswordChange(msgspec.Struct):
    """A new password, and the old one if it is one's own."""

    current_password: str | UnsetType = UNSET
    new_password: str | UnsetType = UNSET


@dataclass(frozen=True)
class Users:
    """What is done to members."""

    database: Database
    accounts: Accounts
    bcrypt_cost: int

    def change(self, id: int, changes: Changes) -> Account | None:
        given = changes.given()
        if not given:
            return self.accounts.by_id(id)
        try:
            with self.database.transaction() as transaction:
                account = self.accounts.change(transaction, id, given)
                if account:
                    details = {"account": id, "fields": sorted(given)}
                    events.record(transaction, current_user.id, "account.update", details)
        except EmailTaken as error:
            raise Refused(409, EMAIL_TAKEN) from error
        return account

    def change_password(self, id: int, change: PasswordChange) -> None:
        own = id == current_user.id
        new = change.new_password or None
        if not passwords.is_good(new):
            raise Refused(400, passwords.BAD_PASSWORD)
        if own and not change.current_password:
            raise Refused(400, NO_PASSWORD)
        account = self.accounts.with_password(id)
        if account is None:
            raise Refused(404, NOT_FOUND)
        if own and not passwords.verify(change.current_password, account.password_hash):
            raise Refused(403, WRONG_PASSWORD)
        hash = passwords.hash(new, self.bcrypt_cost)
        with self.database.transaction() as transaction:
            if not own:
                self.accounts.set_password(transaction, id, hash)
            # The current password may have been changed since it was checked.
            elif not self.accounts.replace_password(transaction, account, hash):
                raise Refused(403, WRONG_PASSWORD)
            events.record(transaction, current_user.id, "account.password", {"account": id})


def blueprint(database: Database, accounts: Accounts, bcrypt_cost: int) -> Blueprint:
    routes = Blueprint("users", __name__, url_prefix="/api/users")
    users = Users(database, accounts, bcrypt_cost)

    @routes.get("")
    def add_slash() -> Response:
        return answers.with_slash()

    @routes.get("/")
    @login_required
    def index() -> Response:
        page = Page.wanted(request.args)
        found, total = accounts.search(request.args.get("q", ""), page.number, page.size)
        return answers.success(page.of("users", [account.to_json() for account in found], total))

    @routes.get("/<id>")
    @login_required
    def show(id: str) -> Response:
        account = accounts.by_id(ids.in_path(id))
        if account is None:
            raise Refused(404, NOT_FOUND)
        return answers.success(
            {
                "user": account.to_json(),
                "circles": circles.of_account(database, account.id),
                "awards": awards.of_account(database, account.id),
            }
        )

    @routes.put("/<id>")
    @login_required
    def change(id: str) -> Response:
        number = ids.in_path(id)
        administrator = _allow_self_or_administrator(number)
        changes = bodies.read(Changes)
        if changes.enabled is not UNSET and not administrator:
            raise Refused(403)
        changes.check()
        account = users.change(number, changes)
        if account is None:
            raise Refused(404, NOT_FOUND)
        return answers.success({"user": account.to_json()})

    @routes.post("/<id>/password")
    @login_required
    def change_password(id: str) -> Response:
        number = ids.in_path(id)
        _allow_self_or_administrator(number)
        users.change_password(number, bodies.read(PasswordChange))
        return answers.success(None)

    def _allow_self_or_administrator(id: int) -> bool:
        """Raises Refused for everybody else; returns whether it is an administrator who is logged in."""
        administrator = circles.is_administrator(database, current_user.id)
        if id != current_user.id and not administrator:
            raise Refused(403)
        return administrator

    return routes
