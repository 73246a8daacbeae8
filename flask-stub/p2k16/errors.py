"""Errors, as programs (JSON) and people (a page) get them."""

from http import HTTPStatus

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from p2k16 import answers
from p2k16.outage import Unavailable

MESSAGES = {
    401: "Authentication required.",
    404: "Not found.",
    405: "Method not allowed.",
    413: "The request body is too large.",
    500: "Internal server error.",
    503: "Service temporarily unavailable.",
}

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
FORM_ENDPOINTS = ("auth.login", "auth.logout")


def register(app: Flask) -> None:
    @app.errorhandler(Unavailable)
    def unavailable(error: Unavailable) -> Response:
        return answer(503)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        response = answer(error.code or 500)
        if error.code == 405:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response


def answer(status: int) -> Response:
    """Answers the current request with an error, in the form that its sender can read."""
    message = MESSAGES.get(status, f"{HTTPStatus(status).phrase}.")
    if request.path.startswith("/api/") and not came_from_a_page():
        return answers.failure(message, status)
    return Response(render_template("error.html", status=status, message=message), status)


def came_from_a_page() -> bool:
    """Whether a form of one of our pages sent the request."""
    return request.endpoint in FORM_ENDPOINTS and request.mimetype in FORM_TYPES


def replace(response: Response, status: int) -> None:
    """Turns an answer that was not sent yet into an error."""
    error = answer(status)
    response.status_code = status
    response.headers.remove("Set-Cookie")
    response.headers.remove("Location")
    response.content_type = error.content_type
    response.set_data(error.get_data())
