"""uvicorn's HTTP/1.1 with a bound on what a request holds besides its body: httptools has none."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 64 * 1024
"""Request line, headers and trailers together; a token has at most 16 KiB."""

_FRAMING_BYTES = 16  # of a chunk of a chunked body

_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 42\r\nconnection: close\r\n\r\n"
    b"the request's head is larger than 64 KiB.\n"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes the connection, with 431 where it can be said, when a head or trailers don't end in time."""

    _beside_body = 0
    """Bytes of the present request that weren't its body."""
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; the parser keeps an unfinished header whole, however long."""
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body > MAX_HEAD_BYTES and not self.transport.is_closing():
            cycle: RequestResponseCycle | None = getattr(self, "cycle", None)
            if cycle is None or cycle.response_complete:  # else it would answer an earlier request
                self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Count anew for each request of a connection."""
        super().on_message_begin()
        self._beside_body = 0
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer, which nobody asks for, is dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Remember that what follows is body and trailers."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Don't count the body: it has limits of its own."""
        self._beside_body = max(0, self._beside_body - len(body) - _FRAMING_BYTES)
        super().on_body(body)
