"""Two servers that give back what they get: WebSocket messages (RFC 6455) on one port, bytes on the other."""

import asyncio
import base64
import hashlib
import sys


async def websocket(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
    key = {name.lower(): value for name, value in fields.items()}["sec-websocket-key"]
    accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
    )
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if not second & 0x80 or length > 125:
            return
        mask = await reader.readexactly(4)
        content = bytes(byte ^ mask[at % 4] for at, byte in enumerate(await reader.readexactly(length)))
        writer.write(bytes([first, length]) + content)


async def echo(reader, writer):
    while True:
        content = await reader.read(4096)
        if not content:
            return
        writer.write(content)


def serving(serve):
    async def connection(reader, writer):
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return connection


async def main(host, websocket_port, echo_port):
    servers = [
        await asyncio.start_server(serving(websocket), host, websocket_port, backlog=1024),
        await asyncio.start_server(serving(echo), host, echo_port, backlog=1024),
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
