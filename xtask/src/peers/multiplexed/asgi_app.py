"""A web application for hypercorn: a page, uploads that are answered with their length and digest, and long answers."""

import hashlib

CONTENT = bytes(range(251)) * 4200


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    digest, length, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        piece, more = message.get("body", b""), message.get("more_body", False)
        digest.update(piece)
        length += len(piece)
    body = b"x" * 1024
    if scope["path"] == "/digest":
        body = f"{length} {digest.hexdigest()}".encode()
    if scope["path"] == "/long":
        body = CONTENT[: int(scope["query_string"])]
    headers = [(b"x-version", scope["http_version"].encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
