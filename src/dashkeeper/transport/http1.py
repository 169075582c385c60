"""uvicorn's HTTP/1.1 with a bound on the head of a request, which it doesn't have with httptools."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together; a token has at most 16 KiB."""

_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 42\r\nconnection: close\r\n\r\n"
    b"the request's head is larger than 64 KiB.\n"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 431 and closes where the head of a request doesn't end in time."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; the parser keeps an unfinished header whole, however long."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_REFUSAL)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count anew for each request of a connection."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Stop counting: what follows is the body, which has limits of its own."""
        self._in_head = False
        super().on_headers_complete()
