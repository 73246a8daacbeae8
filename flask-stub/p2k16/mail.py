"""Sends mail."""

import base64
import logging
import smtplib
from contextlib import suppress
from email.utils import formatdate
from time import monotonic

from p2k16 import texts, trace
from p2k16.outage import Unavailable

SENDER = "p2k16@example.com"
SENDER_NAME = "p2k16"
LIMIT = 2.0

_logger = logging.getLogger(__name__)


class Mail:
    """A mail server, without encryption or a password."""

    def __init__(self, host: str, port: int):
        self._host = host
        self._port = port

    def send(self, address: str, subject: str, text: str) -> None:
        """Hands a mail to the server; raises Unavailable when that does not work in time."""
        # What members wrote before there was a rule could hold anything, also more headers.
        if not texts.is_email(address) or set(address) & set("<>"):
            _logger.warning("a mail was not sent: the address is not valid")
            return
        try:
            client = _Client(self._host, self._port)
            try:
                client.deliver(address, message(address, subject, text))
            finally:
                client.close()
        except (OSError, smtplib.SMTPException) as error:
            _logger.warning("a mail was not sent: %s", error or type(error).__name__)
            raise Unavailable("no mail server") from error


def message(address: str, subject: str, text: str) -> bytes:
    """Returns a mail as it is sent. Address and subject are ASCII, without line breaks."""
    headers = {
        "From": f"{SENDER_NAME} <{SENDER}>",
        "To": address,
        "Subject": subject,
        "Date": formatdate(),
        "X-Request-ID": trace.current(),
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "base64",
    }
    lines = [f"{name}: {value}\r\n".encode("ascii") for name, value in headers.items()]
    body = base64.encodebytes(text.encode()).replace(b"\n", b"\r\n")
    return b"".join([*lines, b"\r\n", body])


class _Client(smtplib.SMTP):
    """smtplib's limit is for each wait; this one is for all together."""

    def __init__(self, host: str, port: int):
        self._deadline = monotonic() + LIMIT
        # With a name of its own: smtplib would ask the name server for one.
        super().__init__(host, port, local_hostname="p2k16", timeout=LIMIT)

    def deliver(self, address: str, mail: bytes) -> None:
        self.ehlo_or_helo_if_needed()
        for command, argument in (("MAIL", f"FROM:<{SENDER}>"), ("RCPT", f"TO:<{address}>")):
            self._expect_success(*self.docmd(command, argument))
        self._expect_success(*self.data(mail))
        with suppress(OSError, smtplib.SMTPException):
            self.docmd("QUIT")

    def getreply(self) -> tuple[int, bytes]:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the mail server did not answer in time")
        if self.sock:
            self.sock.settimeout(left)
        return super().getreply()

    @staticmethod
    def _expect_success(code: int, answer: bytes) -> None:
        if not 200 <= code < 300:
            raise smtplib.SMTPResponseException(code, answer)
