"""What HTTP/1 asks of the messages between uvicorn and the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from dashkeeper.errors import InvalidRequestError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WITHOUT_BODY = frozenset({204, 304})
"""A length of zero would be that of what a cache keeps: RFC 9110 §8.6."""


class Http1Messages:
    """Wraps the application: a body has the length it was said to have, an old client can read its answer."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if (length := headers.get(b"content-length")) is not None:
            receive = _of_length(length, receive)
        if headers.get(b"expect", b"").lower() == b"100-continue":
            receive, send = _closing_unless_read(receive, send)
        if scope["http_version"] == "1.0":
            send = _in_one_piece(scope["method"], send)
        await self._application(scope, receive, send)


def _of_length(length: bytes, receive: Receive) -> Receive:
    """Count what arrives: a body that a parser had lost would be an empty request, which is a valid one."""
    missing = int(length)

    async def counting() -> Message:
        nonlocal missing
        message = await receive()
        if message["type"] == "http.request":
            missing -= len(message.get("body", b""))
            if missing < 0 or (missing and not message.get("more_body", False)):
                raise InvalidRequestError(
                    "the body is not as long as content-length says", reason="MALFORMED_REQUEST"
                )
        return message

    return counting


def _closing_unless_read(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Close after an answer that came before "100 Continue": whether the body follows can't be known."""
    is_read = False

    async def reading() -> Message:
        nonlocal is_read
        is_read = True
        return await receive()

    async def answering(message: Message) -> None:
        if message["type"] == "http.response.start" and not is_read:
            MutableHeaders(scope=message)["connection"] = "close"
        await send(message)

    return reading, answering


def _in_one_piece(method: str, send: Send) -> Send:
    """Hold an answer back until its length is known: HTTP/1.0 has no chunks."""
    start: Message = {}
    body: list[bytes] = []

    async def holding(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        body.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        whole = b"".join(body)
        if method != "HEAD" and start["status"] not in _WITHOUT_BODY:
            MutableHeaders(scope=start)["content-length"] = str(len(whole))
        await send(start)
        await send({"type": "http.response.body", "body": whole})

    return holding
