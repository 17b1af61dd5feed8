"""Tornado. PORT may be a number or the path of a Unix socket."""
import asyncio
import json
import os

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler


class Hello(RequestHandler):
    def get(self):
        self.write("hello\n")


class Json(RequestHandler):
    def get(self):
        self.write({"hello": "world"})

    def post(self):
        self.write(json.loads(self.request.body))


class Download(RequestHandler):
    def get(self):
        self.write(bytes(int(self.get_argument("bytes"))))


class Upload(RequestHandler):
    def post(self):
        self.write({"bytes": len(self.request.body)})


async def main():
    app = Application([("/", Hello), ("/json", Json), ("/download", Download), ("/upload", Upload)])
    server = HTTPServer(app)
    port = os.environ.get("PORT", "3000")
    if port.isdigit():
        server.listen(int(port), "127.0.0.1")
    else:
        server.add_socket(bind_unix_socket(port))
    await asyncio.Event().wait()


asyncio.run(main())
