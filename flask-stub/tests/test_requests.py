import unittest
from io import BytesIO

from flask import Flask
from werkzeug.exceptions import RequestEntityTooLarge

from p2k16.requests import MAX_BODY_BYTES, Request


class RequestTest(unittest.TestCase):
    def request(self, query="", body=b"", **environ) -> Request:
        app = Flask("test")
        app.request_class = Request
        app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
        environ |= {"QUERY_STRING": query, "wsgi.input": BytesIO(body)}
        context = app.test_request_context("/", method="POST", environ_overrides=environ)
        context.push()
        self.addCleanup(context.pop)
        return context.request

    def test_any_query_can_be_read(self):
        for sent, read in (("q=\xc3\xa5", "å"), ("q=%C3%A5", "å"), ("q=\xff", "%FF"), ("q=%ff", "%FF"), ("q=\xc3", "%C3")):
            with self.subTest(sent):
                self.assertEqual(self.request(sent).args["q"], read)

    def test_a_body_in_chunks_has_the_same_limit(self):
        chunks = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        self.assertEqual(len(self.request(body=b"x" * MAX_BODY_BYTES, **chunks).get_data()), MAX_BODY_BYTES)
        with self.assertRaises(RequestEntityTooLarge):
            self.request(body=b"x" * (MAX_BODY_BYTES + 1), **chunks).get_data()
        with self.assertRaises(RequestEntityTooLarge):
            form = "application/x-www-form-urlencoded"
            self.request(body=b"a=" + b"x" * MAX_BODY_BYTES, CONTENT_TYPE=form, **chunks).form
        self.assertEqual(self.request(body=b"a=b", CONTENT_LENGTH="3").get_data(), b"a=b")
