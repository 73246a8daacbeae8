import unittest
from io import BytesIO

from flask import Flask
from werkzeug.exceptions import RequestEntityTooLarge

from p2k16.requests import MAX_BODY_BYTES, Request


class RequestTest(unittest.TestCase):
    def request(self, query="", body=b"", **environ) -> Request:
        app = Flask("test")
        app.request_class = Request
        environ |= {"QUERY_STRING": query, "wsgi.input": BytesIO(body)}
        context = app.test_request_context("/", method="POST", environ_overrides=environ)
        context.push()
        self.addCleanup(context.pop)
        return context.request

    def test_any_query_can_be_read(self):
        for sent, read in (("q=\xc3\xa5", "å"), ("q=%C3%A5", "å"), ("q=\xff", "%FF"), ("q=%ff", "%FF"), ("q=\xc3", "%C3")):
            with self.subTest(sent):
                self.assertEqual(self.request(sent).args["q"], read)

    def test_the_limit_is_the_same_however_a_body_is_sent(self):
        chunks = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        for size, fits in ((3, True), (MAX_BODY_BYTES, True), (MAX_BODY_BYTES + 1, False), (10 * MAX_BODY_BYTES, False)):
            whole = {"CONTENT_LENGTH": str(size), "wsgi.input_terminated": True}
            for environ in (chunks, whole):
                for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
                    with self.subTest(f"{size} {environ} {kind}"):
                        request = self.request(body=b"a=" + b"x" * (size - 2), CONTENT_TYPE=kind, **environ)
                        read = request.get_data if kind == "application/json" else lambda: request.form
                        if fits:
                            read()
                        else:
                            self.assertRaises(RequestEntityTooLarge, read)
