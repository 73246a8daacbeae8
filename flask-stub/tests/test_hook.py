import http.server
import logging
import socket
import threading
import time
import unittest

from flask import Flask

from p2k16 import hook
from p2k16.hook import Hook


class Receiver(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, status: int = 204):
        super().__init__(("127.0.0.1", 0), Call)
        self.status = status
        self.calls: list[tuple[str, str | None, bytes]] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Call(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.path, self.headers["X-Request-ID"], body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class HookTest(unittest.TestCase):
    def setUp(self):
        context = Flask("test").test_request_context("/", headers={"X-Request-ID": "abc"})
        context.push()
        self.addCleanup(context.pop)

    def receiver(self, **behaviour) -> Receiver:
        receiver = Receiver(**behaviour)
        self.addCleanup(receiver.server_close)
        self.addCleanup(receiver.shutdown)
        return receiver

    def test_it_is_told_what_happened(self):
        receiver = self.receiver()
        for base in ("", "/", "/base"):
            Hook(f"http://127.0.0.1:{receiver.server_port}{base}").tell(3, 7, "checkout")
        body = b'{"tool":3,"account":7,"action":"checkout"}'
        self.assertEqual(
            receiver.calls, [("/tools", "abc", body), ("/tools", "abc", body), ("/base/tools", "abc", body)]
        )

    def test_what_it_answers_is_logged_and_not_followed(self):
        for status in (302, 307, 500):
            receiver = self.receiver(status=status)
            with self.subTest(status), self.assertLogs("p2k16.hook", logging.WARNING):
                Hook(f"http://127.0.0.1:{receiver.server_port}").tell(1, 2, "checkin")
            self.assertEqual(len(receiver.calls), 1)

    def test_one_that_is_silent_is_left_in_time(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            start = time.monotonic()
            with self.assertLogs("p2k16.hook", logging.WARNING):
                Hook(f"http://127.0.0.1:{silent.getsockname()[1]}").tell(1, 2, "checkin")
            self.assertLess(time.monotonic() - start, hook.LIMIT + 0.5)

    def test_one_that_is_not_there_is_logged(self):
        with socket.socket() as unused, self.assertLogs("p2k16.hook", logging.WARNING):
            unused.bind(("127.0.0.1", 0))
            Hook(f"http://127.0.0.1:{unused.getsockname()[1]}").tell(1, 2, "checkin")
