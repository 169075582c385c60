"""Requests that no application ever sees: what is said to their senders, and the log line of each."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from dashkeeper.pipeline import usable_request_id

if TYPE_CHECKING:
    from collections.abc import Iterable

calls_log = logging.getLogger("dashkeeper.calls")

_CODES = {
    HTTPStatus.BAD_REQUEST: "invalid_argument",
    HTTPStatus.REQUEST_TIMEOUT: "deadline_exceeded",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "resource_exhausted",
    HTTPStatus.NOT_IMPLEMENTED: "unimplemented",
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: "unimplemented",
}
_LONGEST_PATH = 200  # in the log


class RefusalError(Exception):
    """A request isn't taken, and the connection ends. The text says what to do."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self._status = status

    def answer(
        self, target: bytes, headers: Iterable[tuple[bytes, bytes]], usual: Iterable[tuple[bytes, bytes]]
    ) -> bytes:
        """Return the answer to a request of which this much is known, and write its line to the log."""
        given = next((value for name, value in headers if name == b"x-request-id"), b"")
        request_id = usable_request_id(given.decode("latin-1"))
        calls_log.info(
            "call",
            extra={
                "request_id": request_id,
                "method": target.partition(b"?")[0][:_LONGEST_PATH].decode("latin-1"),
                "protocol": "http",
                "code": _CODES[self._status],
                "status": int(self._status),
                "refusal": str(self),
            },
        )
        body = f"{self}\n".encode()
        lines = [
            f"HTTP/1.1 {self._status.value} {self._status.phrase}".encode(),
            *(name + b": " + value for name, value in usual),
            b"x-request-id: " + request_id.encode(),
            b"content-type: text/plain; charset=utf-8",
            b"content-length: " + str(len(body)).encode(),
            b"connection: close",
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body
