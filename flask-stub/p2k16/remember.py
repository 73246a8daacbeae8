"""Flask-Login's remember-me cookie, which logs its user in again when the session has expired."""

from flask_login.utils import decode_cookie, encode_cookie

COOKIE = "remember_token"
SECONDS = 365 * 24 * 60 * 60


def token_of(user_id: str, secret_key: str) -> str:
    return encode_cookie(user_id, secret_key)


def user_of(token: str, secret_key: str) -> str | None:
    """Returns whose the token is, or None when it is not signed by us."""
    return (decode_cookie(token, secret_key) if token and token.isascii() else None) or None


def session_of(user_id: str) -> dict[str, object]:
    """Returns the session of somebody who was remembered; it is not fresh."""
    return {"_user_id": user_id, "_fresh": False, "_permanent": True, "created_by": "python"}
