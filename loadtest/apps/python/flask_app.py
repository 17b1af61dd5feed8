"""Flask, for gunicorn."""
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/")
def hello():
    return "hello\n"


@app.route("/json", methods=["GET", "POST"])
def json():
    return jsonify(request.get_json() if request.method == "POST" else {"hello": "world"})


@app.get("/download")
def download():
    return bytes(int(request.args["bytes"]))


@app.post("/upload")
def upload():
    return jsonify({"bytes": len(request.get_data())})
