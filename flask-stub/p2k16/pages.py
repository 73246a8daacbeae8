"""The pages that members see."""

from flask import Blueprint, Response, render_template, request
from flask_login import current_user, login_required

from p2k16 import answers, auth, awards, circles
from p2k16.accounts import Accounts
from p2k16.database import Database
from p2k16.memberships import Memberships
from p2k16.paging import Page
from p2k16.tools import Tools

NEWEST = Page(size=10)

NOTICES = {
    "sent": "If there is an account with this address, a mail with a link is on its way.",
    "done": "Your password has been changed. Log in with the new one.",
}


def blueprint(database: Database, accounts: Accounts, tools: Tools, memberships: Memberships) -> Blueprint:
    routes = Blueprint("pages", __name__)

    @routes.get("/")
    def root() -> Response:
        return answers.redirect(auth.HOME, 302)

    @routes.get("/login")
    def login() -> Response | str:
        if current_user.is_authenticated:
            return answers.redirect(auth.HOME, 302)
        return render_template(
            "login.html",
            next=auth.local_path(request.args.get("next", "")),
            notice=NOTICES.get(request.args.get("reset", "")),
        )

    @routes.get("/reset")
    def reset() -> str:
        return render_template("reset.html")

    @routes.get("/dashboard")
    @login_required
    def dashboard() -> str:
        mine, _ = memberships.on_page(current_user.id, NEWEST)
        return render_template(
            "dashboard.html",
            user=current_user,
            circles=circles.of_account(database, current_user.id),
            memberships=mine,
            tools=tools.held_by(current_user.id),
            awards=awards.of_account(database, current_user.id, NEWEST.size),
        )

    @routes.get("/users")
    @login_required
    def users() -> str:
        page = Page.lenient(request.args)
        text = request.args.get("q", "")
        members, total = accounts.search(text, page.number, page.size)
        return render_template(
            "users.html",
            user=current_user,
            members=members,
            total=total,
            text=text,
            page=page,
            pages=page.count(total),
        )

    @routes.get("/tools")
    @login_required
    def list_tools() -> str:
        page = Page.lenient(request.args)
        found, total = tools.on_page(page)
        names = circles.of_account(database, current_user.id)
        return render_template(
            "tools.html",
            user=current_user,
            circles=names,
            administrator=circles.ADMINISTRATORS in names,
            tools=found,
            total=total,
            page=page,
            pages=page.count(total),
        )

    return routes
