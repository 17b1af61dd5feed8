"""Flask with its own development server, whose port stands in the source."""

import os

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def main():
    environ = request.environ
    return {
        "pid": os.getpid(),
        "self": f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
        "peer": f"{environ.get('REMOTE_ADDR')}:{environ.get('REMOTE_PORT')}",
    }


@app.post("/echo")
def echo():
    return request.get_data()


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=9000)
