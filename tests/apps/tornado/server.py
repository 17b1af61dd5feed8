"""A Tornado app as Function Compute's documentation writes one for a custom runtime.

The port comes from the platform's variable, the hooks of the instance's life are paths, an event
comes to /invoke, and everything else is the application's own. It knows nothing of sockets.
"""

import json
import os

import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.web


class Hook(tornado.web.RequestHandler):
    """Initialize, PreFreeze or PreStop."""

    def initialize(self, name):
        self.name = name

    def answer(self):
        request_id = self.request.headers.get("x-fc-request-id", "")
        print(f"FC {self.name} Start RequestId: {request_id}", flush=True)
        self.write("OK")
        print(f"FC {self.name} End RequestId: {request_id}", flush=True)

    get = answer
    post = answer


class Invoke(tornado.web.RequestHandler):
    """One event."""

    def post(self):
        request_id = self.request.headers.get("x-fc-request-id", "")
        print(f"FC Invoke Start RequestId: {request_id}", flush=True)
        self.set_header("x-fc-status", "200")
        self.write(b"Hello from Tornado: " + self.request.body)
        print(f"FC Invoke End RequestId: {request_id}", flush=True)


class Everything(tornado.web.RequestHandler):
    """What the application itself serves: tells what came."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")

    def answer(self):
        fields = [[name, value] for name, value in self.request.headers.get_all()]
        self.set_header("Content-Type", "application/json")
        self.finish(
            json.dumps(
                {
                    "method": self.request.method,
                    "uri": self.request.uri,
                    "fields": fields,
                    "body": self.request.body.decode(),
                }
            )
        )

    get = head = post = put = delete = patch = options = answer


def main():
    app = tornado.web.Application(
        [
            ("/initialize", Hook, {"name": "Initialize"}),
            ("/pre-freeze", Hook, {"name": "PreFreeze"}),
            ("/pre-stop", Hook, {"name": "PreStop"}),
            ("/invoke", Invoke),
            (".*", Everything),
        ]
    )
    sockets = tornado.netutil.bind_sockets(int(os.environ.get("FC_SERVER_PORT", "9000")), "0.0.0.0")
    tornado.httpserver.HTTPServer(app).add_sockets(sockets)
    print(f"listening on {sockets[0].getsockname()[1]}", flush=True)
    tornado.ioloop.IOLoop.current().start()


main()
