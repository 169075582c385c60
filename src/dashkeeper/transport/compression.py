"""gzip for Connect and gRPC-Web, bounded in both directions."""

from __future__ import annotations

import gzip
import zlib

from dashkeeper.codec import too_large
from dashkeeper.errors import InvalidRequestError

_WORTHWHILE_BYTES = 1_024
_LEVEL = 1  # answers are compressed on the event loop: quickly rather than well
_STORED = 0
_WITH_GZIP_HEADER = 31  # zlib's word for it


class Gzip:
    """Takes one member a body: connectrpc's own takes any number, in time that grows with its square."""

    def __init__(self, max_request_bytes: int) -> None:
        self._max_request_bytes = max_request_bytes

    def name(self) -> str:
        """Return the name in `accept-encoding`."""
        return "gzip"

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """Compress; a short answer, which wouldn't gain, is only wrapped."""
        return gzip.compress(data, _LEVEL if len(data) >= _WORTHWHILE_BYTES else _STORED, mtime=0)

    def decompress(self, data: bytes | bytearray | memoryview, read_max_bytes: int | None = None) -> bytes:
        """Decompress, and stop at the limit.

        Raises:
            ResourceExhaustedError: If there is more than the largest request.
            InvalidRequestError: If it isn't one whole gzip member.
        """
        decompressor = zlib.decompressobj(_WITH_GZIP_HEADER)
        try:
            content = decompressor.decompress(data, self._max_request_bytes + 1)
        except zlib.error as error:
            raise _not_gzip() from error
        if len(content) > self._max_request_bytes:
            raise too_large(self._max_request_bytes)
        if not decompressor.eof or decompressor.unused_data:
            raise _not_gzip()
        return content


def _not_gzip() -> InvalidRequestError:
    return InvalidRequestError("the body is not gzip: send one whole member", reason="MALFORMED_REQUEST")
