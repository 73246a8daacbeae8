"""Errors, as programs (JSON) and people (a page) get them."""

from http import HTTPStatus

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from p2k16 import answers, origin
from p2k16.outage import Unavailable

OTHER_SITE = "This request came from another site."

MESSAGES = {
    401: "Authentication required.",
    403: "You are not allowed to do this.",
    404: "Not found.",
    405: "Method not allowed.",
    413: "The request body is too large.",
    500: "Internal server error.",
    503: "Service temporarily unavailable.",
}

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
FORM_ENDPOINTS = (
    "auth.login",
    "auth.logout",
    "reset.ask",
    "reset.choose",
    "tools.checkout",
    "tools.checkin",
)
# Pages, though they are below /api/: the mail links to them.
PAGE_ENDPOINTS = ("reset.show",)


class Refused(Exception):
    """Ends a request that cannot be fulfilled, and a transaction that it is in."""

    def __init__(self, status: int, message: str | None = None):
        super().__init__(status, message)
        self.status = status
        self.message = message


def register(app: Flask) -> None:
    @app.before_request
    def redirect_nobody() -> None:
        # To an address with a slash at its end, if the method is not known without one.
        if isinstance(request.routing_exception, RequestRedirect):
            raise MethodNotAllowed(valid_methods=app.create_url_adapter(request).allowed_methods())

    @app.before_request
    def refuse_other_sites() -> None:
        if request.url_rule and origin.is_foreign(request.method, request.headers, request.headers.get("Host", "")):
            raise Refused(403, OTHER_SITE)

    @app.errorhandler(Unavailable)
    def unavailable(error: Unavailable) -> Response:
        return answer(503)

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return answer(error.status, error.message)

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        response = answer(error.code or 500)
        if error.code == 405:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response


def answer(status: int, message: str | None = None) -> Response:
    """Answers the current request with an error, in the form that its sender can read."""
    message = message or MESSAGES.get(status, f"{HTTPStatus(status).phrase}.")
    if request.path.startswith("/api/") and not wants_a_page():
        return answers.failure(message, status)
    return Response(render_template("error.html", status=status, message=message), status)


def came_from_a_page() -> bool:
    """Whether a form of one of our pages sent the request."""
    return request.endpoint in FORM_ENDPOINTS and request.mimetype in FORM_TYPES


def wants_a_page() -> bool:
    return request.endpoint in PAGE_ENDPOINTS or came_from_a_page()


def replace(response: Response, status: int) -> None:
    """Turns an answer that was not sent yet into an error."""
    error = answer(status)
    response.status_code = status
    response.headers.remove("Set-Cookie")
    response.headers.remove("Location")
    response.content_type = error.content_type
    response.set_data(error.get_data())
