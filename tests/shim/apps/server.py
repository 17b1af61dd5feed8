"""A threaded server on a fixed port; `child` as an argument has a child of its own bind it."""
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in two writes.
    disable_nagle_algorithm = True

    def do_GET(self):
        own = self.connection.getsockname()
        assert self.connection.getpeername() == self.client_address
        body = json.dumps({"pid": os.getpid(), "peer": self.client_address[:2], "own": own[:2]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if sys.argv[1:] == ["child"]:
    # close_fds, the default, closes whatever it does not know.
    sys.exit(subprocess.Popen([sys.executable, __file__]).wait())
server = ThreadingHTTPServer(("0.0.0.0", 9000), Handler)
print("bound", json.dumps({"address": server.socket.getsockname()[0], "port": server.socket.getsockname()[1]}),
      flush=True)
server.serve_forever()
