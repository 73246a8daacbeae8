"""The forms that the application's answers have."""

import msgspec
from flask import Response


def success(data: object) -> Response:
    return json_answer({"status": "success", "data": data, "message": None})


def failure(message: str, status: int) -> Response:
    return json_answer({"status": "error", "data": None, "message": message}, status)


def json_answer(document: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document) + b"\n", status, content_type="application/json")


def redirect(location: str, status: int) -> Response:
    """Sends the client elsewhere, without the body that nobody sees."""
    response = Response(status=status, headers={"Location": location})
    del response.headers["Content-Type"]
    return response
