"""What all cookies have in common."""

from flask import Flask, request

USER = "user_id"


def attributes(app: Flask) -> dict[str, object]:
    """Returns what a cookie is set and expired with; it is Secure for who came over TLS."""
    return {
        "path": "/",
        "secure": app.config["SESSION_COOKIE_SECURE"] or request.headers.get("X-Forwarded-Proto") == "https",
        "httponly": True,
        "samesite": "Strict",
    }
