"""The pages that members see."""

from flask import Blueprint, Response, render_template, request
from flask_login import current_user, login_required

from p2k16 import answers, auth
from p2k16.accounts import Accounts
from p2k16.users import Page


def blueprint(accounts: Accounts) -> Blueprint:
    routes = Blueprint("pages", __name__)

    @routes.get("/")
    def root() -> Response:
        return answers.redirect(auth.HOME, 302)

    @routes.get("/login")
    def login() -> Response | str:
        if current_user.is_authenticated:
            return answers.redirect(auth.HOME, 302)
        return render_template("login.html", next=auth.local_path(request.args.get("next", "")))

    @routes.get("/dashboard")
    @login_required
    def dashboard() -> str:
        try:
            page = Page.parse(request.args)
        except ValueError:
            page = Page()
        text = request.args.get("q", "")
        members, total = accounts.search(text, page.number, page.size)
        return render_template(
            "dashboard.html",
            user=current_user,
            members=members,
            total=total,
            text=text,
            page=page,
            pages=page.count(total),
        )

    return routes
