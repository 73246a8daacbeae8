import email
import logging
import socket
import socketserver
import threading
import time
import unittest

from flask import Flask

from p2k16 import mail
from p2k16.mail import Mail
from p2k16.outage import Unavailable


class Server(socketserver.ThreadingTCPServer):
    """Takes mail from one client at a time, and keeps what it was told."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, refused: bytes = b"", silent: bool = False):
        super().__init__(("127.0.0.1", 0), Session)
        self.refused = refused
        self.silent = silent
        self.commands: list[bytes] = []
        self.mail = b""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        if self.server.silent:
            self.rfile.read()
            return
        self.say("220 ready")
        while line := self.rfile.readline():
            command = line.split()[0].upper()
            self.server.commands.append(line.strip())
            if command == self.server.refused:
                self.say("550 no")
            elif command == b"DATA":
                self.say("354 go on")
                while (line := self.rfile.readline()) != b".\r\n":
                    self.server.mail += line
                self.say("250 taken")
            else:
                self.say("250 fine")

    def say(self, text: str):
        self.wfile.write(text.encode() + b"\r\n")


class MailTest(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        context = Flask("test").test_request_context("/", headers={"X-Request-ID": "abc"})
        context.push()
        self.addCleanup(context.pop)

    def server(self, **behaviour) -> Server:
        server = Server(**behaviour)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def send(self, server: Server, address: str = "kari@example.com"):
        Mail(*server.server_address).send(address, "Subject", "Hei Kåre,\n\n.\n\nlast\n")

    def test_a_mail_arrives_as_it_was_written(self):
        server = self.server()
        self.send(server)
        self.assertIn(b"MAIL FROM:<p2k16@example.com>", server.commands)
        self.assertIn(b"RCPT TO:<kari@example.com>", server.commands)
        arrived = email.message_from_bytes(server.mail)
        self.assertEqual(arrived.get_payload(decode=True).decode(), "Hei Kåre,\n\n.\n\nlast\n")
        self.assertEqual(
            {name: arrived[name] for name in ("From", "To", "Subject", "X-Request-ID", "Content-Type")},
            {
                "From": "p2k16 <p2k16@example.com>",
                "To": "kari@example.com",
                "Subject": "Subject",
                "X-Request-ID": "abc",
                "Content-Type": "text/plain; charset=utf-8",
            },
        )

    def test_an_address_cannot_add_commands_or_headers(self):
        server = self.server()
        for address in ("a@b\r\nBcc: c@d", "a@b>\r\nRCPT TO:<c@d", "a@b>", "<a@b", "a b@c", "å@b", "a@b\0", ""):
            with self.subTest(address):
                self.send(server, address)
        self.assertEqual(server.commands, [])

    def test_a_refusal_is_an_outage(self):
        for command in (b"MAIL", b"RCPT", b"DATA"):
            with self.subTest(command), self.assertRaises(Unavailable):
                self.send(self.server(refused=command))

    def test_a_server_that_is_not_there_is_an_outage(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with self.assertRaises(Unavailable):
                Mail(*unused.getsockname()).send("a@b", "s", "t")

    def test_a_silent_server_is_left_in_time(self):
        server = self.server(silent=True)
        start = time.monotonic()
        with self.assertRaises(Unavailable):
            self.send(server)
        self.assertLess(time.monotonic() - start, mail.LIMIT + 0.5)
