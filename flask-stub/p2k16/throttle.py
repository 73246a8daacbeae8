"""Bounds how often logins fail; the other application counts in the same keys."""

import ipaddress
from hashlib import sha256

from flask import request
from redis import Redis

from p2k16.outage import Breaker

WINDOW = 15 * 60

# Counts an attempt before it is made, so that many at once get no more tries than one after the other.
# Returns 0 if it may be made, else after how many milliseconds the next one may.
ATTEMPT = """
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count >= tonumber(ARGV[1]) then
    return math.max(redis.call('PTTL', KEYS[1]), 1)
end
redis.call('INCR', KEYS[1])
if count == 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""

# Takes back one that was neither right nor wrong.
GIVE_BACK = """
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then
    redis.call('DECR', KEYS[1])
end
return 0
"""


class Throttle:
    """Counts failures for each pair of an account and an address."""

    def __init__(self, client: Redis, breaker: Breaker, limit: int):
        self._client = client
        self._breaker = breaker
        self._limit = limit
        self._attempt = client.register_script(ATTEMPT)
        self._give_back = client.register_script(GIVE_BACK)

    def attempt(self, account: str) -> int:
        """Returns 0 if a login may be tried, else after how many seconds it may; raises Unavailable."""
        with self._breaker.call():
            left = self._attempt(keys=[key(account, client_address())], args=[self._limit, WINDOW * 1000])
        return -(-left // 1000)

    def succeeded(self, account: str) -> None:
        with self._breaker.call():
            self._client.delete(key(account, client_address()))

    def give_back(self, account: str) -> None:
        with self._breaker.call():
            self._give_back(keys=[key(account, client_address())])


def client_address() -> str:
    """Returns where the request came from, as the edge says."""
    forwarded = request.headers.get("X-Forwarded-For")
    return network_of(forwarded.partition(",")[0].strip() if forwarded else request.remote_addr or "")


def network_of(address: str) -> str:
    """Returns what one client has of addresses: of IPv6 everybody has a whole network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def key(account: str, address: str) -> str:
    """Returns where failures are counted; it hides whom somebody tried to be."""
    return "login-failures:" + sha256(f"{account.lower()}\n{address}".encode()).hexdigest()
