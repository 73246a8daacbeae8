"""Makes hashes of passwords, and checks passwords against the two kinds that the accounts have."""

import re
import secrets
from time import monotonic, sleep

import bcrypt
from passlib.hash import sha512_crypt

# bcrypt looks at no more than this; newer libraries refuse longer passwords instead of cutting them.
BCRYPT_BYTES = 72

SHORTEST = 8
LONGEST = 1000
BAD_PASSWORD = "A password has 8 to 1000 characters."

# Of hashes that cost next to nothing.
SHORTEST_REFUSAL = 0.05

# Of a password that nobody knows.
_NOBODYS_HASH = "$2b$06$6XxbMiTm2ra074oWZwGu2uPr8MTxGhJ1tNvojW9P9NPm47wIWYlTK"

# The library panics on a malformed hash.
_BCRYPT = re.compile(r"\$2b\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}", re.ASCII)


class Checker:
    """Checks passwords at the login, where it must not show why one is refused."""

    def __init__(self, cost: int):
        """cost is that of the hashes of new passwords."""
        times = []
        for _ in range(3):  # the machine may be busy with other work
            began = monotonic()
            self._nobodys = hash(secrets.token_urlsafe(32), cost)
            times.append(monotonic() - began)
        # Longer than any of the hashes, some of which are dearer than others.
        self.refusal = max(2 * min(times), SHORTEST_REFUSAL)

    def verify(self, password: str, hash: str | None) -> bool:
        return verify(password, hash, self._nobodys)

    def pause(self, began: float) -> None:
        """Lets a refused login take as long as any other."""
        sleep(max(0.0, self.refusal - (monotonic() - began)))


def verify(password: str, hash: str | None, nobodys: str = _NOBODYS_HASH) -> bool:
    """Tells whether the hash is the password's. No hash takes as long as a wrong one, and is never right."""
    if "\0" not in password:
        if hash and _BCRYPT.fullmatch(hash):
            return _verify_bcrypt(password, hash)
        if hash and hash.startswith("$6$"):
            return _verify_sha512(password, hash)
    _verify_bcrypt(password, nobodys)
    return False


def is_good(password: str | None) -> bool:
    """Whether somebody may choose this password."""
    return password is not None and SHORTEST <= len(password) <= LONGEST and "\0" not in password


def hash(password: str, cost: int) -> str:
    """Returns a new hash, of the kind $2b$."""
    return bcrypt.hashpw(_cut(password), bcrypt.gensalt(cost)).decode()


def _verify_bcrypt(password: str, hash: str) -> bool:
    return bcrypt.checkpw(_cut(password), hash.encode())


def _cut(password: str) -> bytes:
    return password.encode()[:BCRYPT_BYTES]


def _verify_sha512(password: str, hash: str) -> bool:
    try:
        return sha512_crypt.verify(password, hash)
    except ValueError:  # a malformed hash, or a password of more than 4096 characters
        return False
