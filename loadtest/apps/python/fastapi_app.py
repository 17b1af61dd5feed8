"""FastAPI, for uvicorn."""
from fastapi import Body, FastAPI, Request, Response

app = FastAPI()


@app.get("/")
async def hello():
    return Response("hello\n", media_type="text/plain")


@app.get("/json")
async def json():
    return {"hello": "world"}


@app.post("/json")
async def echo(body: dict = Body()):
    return body


@app.get("/download")
async def download(bytes: int):
    return Response(b"\0" * bytes, media_type="application/octet-stream")


@app.post("/upload")
async def upload(request: Request):
    return {"bytes": len(await request.body())}
