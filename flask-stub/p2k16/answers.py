"""The forms that the application's answers have."""

import msgspec
from flask import Response, request


def success(data: object, status: int = 200) -> Response:
    return json_answer({"status": "success", "data": data, "message": None}, status)


def failure(message: str, status: int) -> Response:
    return json_answer({"status": "error", "data": None, "message": message}, status)


def json_answer(document: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document) + b"\n", status, content_type="application/json")


def with_slash() -> Response:
    """Sends the client to the address of the current request, with a slash at its end."""
    query = request.query_string.decode("latin-1")
    return redirect(f"{request.path}/" + (f"?{query}" if query else ""), 308)


def redirect(location: str, status: int) -> Response:
    """Sends the client elsewhere, without the body that nobody sees."""
    response = Response(status=status, headers={"Location": location})
    del response.headers["Content-Type"]
    return response
