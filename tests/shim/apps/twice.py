"""Binds both families of a fixed port, as tornado does; answers on either."""
import asyncio
import json
import os


async def serve(reader, writer):
    while head := await reader.readuntil(b"\r\n\r\n"):
        peer, own = (writer.get_extra_info(name)[:2] for name in ("peername", "sockname"))
        body = json.dumps({"pid": os.getpid(), "peer": peer, "own": own}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        if b"connection: close" in head.lower():
            writer.close()
            return


async def forgiving(reader, writer):
    try:
        await serve(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(forgiving, ["0.0.0.0", "::"], 9000)
    print("bound", json.dumps(sorted(socket.getsockname()[:2] for socket in server.sockets)), flush=True)
    await server.serve_forever()


asyncio.run(main())
