"""The Tornado sample of Function Compute: the port is a number from the platform's variable."""

import os

import tornado.ioloop
import tornado.web


class Main(tornado.web.RequestHandler):
    def get(self):
        stream = self.request.connection.stream.socket
        self.write({"pid": os.getpid(), "self": str(stream.getsockname()), "peer": str(stream.getpeername())})


class Echo(tornado.web.RequestHandler):
    def post(self):
        self.write(self.request.body)


app = tornado.web.Application([("/", Main), ("/echo", Echo)])
app.listen(int(os.environ["FC_SERVER_PORT"]))
tornado.ioloop.IOLoop.current().start()
