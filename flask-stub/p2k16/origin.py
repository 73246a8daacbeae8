"""Refuses what another site has a browser do here.

Forms need no token: one that either application rendered can be sent to the other.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

SAFE = ("GET", "HEAD", "OPTIONS")


def is_foreign(method: str, headers: Mapping[str, str], host: str) -> bool:
    """Tells whether a browser sent this for another site. What is no browser says nothing of sites."""
    if method in SAFE:
        return False
    site = headers.get("Sec-Fetch-Site", "")
    if site:
        return site not in ("same-origin", "none")
    origin = headers.get("Origin", "")
    if not origin:
        return False
    try:
        return urlsplit(origin).netloc != host
    except ValueError:
        return True
