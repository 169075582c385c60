"""HTTP/1.1 on the wire: uvicorn's protocol on httptools, with bounds, deadlines and one reading of a request.

What is read as one request here must be one to every proxy in front (RFC 9112 §11.2), so whatever could be
read in two ways is refused, and the connection ends there.
"""

from __future__ import annotations

import logging
from collections import deque
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dashkeeper.transport.http1_refusals import RefusalError

if TYPE_CHECKING:
    import asyncio

    from uvicorn import Config
    from uvicorn.server import ServerState

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Request line, headers and trailers together; a token has at most 16 KiB."""

_FRAMING_BYTES = 16  # of a chunk of a chunked body
_LINGER_SECONDS = 2
_PROBE_SECONDS = 1
_PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Arriving(Enum):
    """Which part of a request is expected next."""

    NOTHING = 0
    HEAD = 1
    BODY = 2  # and trailers


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(  # pyright: ignore[reportInconsistentConstructor] # asyncio.Protocol's takes nothing
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        request_timeout: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._request_timeout = request_timeout
        self._arriving = _Arriving.NOTHING
        self._beside_body = 0
        """Bytes of the present request that weren't its body."""
        self._unanswered: deque[RequestResponseCycle] = deque()
        """Requests whose head has arrived, the one that is being answered first."""
        self._parting: bytes | None = None
        """What is said last; once set, nothing more is read."""
        self._has_ended = False
        """Whether the client sends nothing more."""
        self._deadline: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._probe: asyncio.TimerHandle | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as uvicorn's
        """Begin with the time that the first request has to arrive."""
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the work for whoever has gone: uvicorn tells only the newest request."""
        for timer in (self._deadline, self._stuck, self._probe):
            if timer is not None:
                timer.cancel()
        for cycle in self._unanswered:
            _disconnect(cycle)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; the parser keeps an unfinished header whole, however long."""
        if self._parting is not None:
            return
        self._beside_body += len(data)
        try:
            self._parse(data)
            if self._beside_body > MAX_HEAD_BYTES:
                raise _too_large()
        except RefusalError as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            self._refuse(_refusal_for(error))
        if self._arriving is not _Arriving.NOTHING and self._deadline is None and self._parting is None:
            self._start_deadline()

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] # uvicorn's never stays open
        """Answer what had arrived whole; a request that was cut short is dropped."""
        self._has_ended = True
        self._drop_unfinished()
        if not self._unanswered:
            self._abort_when_stuck(_LINGER_SECONDS)
            return False
        if self._parting is None:
            self._part(b"")
        self._probe = self.loop.call_later(_PROBE_SECONDS, self._look_for_client)
        return True

    def pause_writing(self) -> None:
        """Give up a client that doesn't read its answer."""
        super().pause_writing()
        self._abort_when_stuck(self.timeout_keep_alive)

    def resume_writing(self) -> None:
        """Go on with one that does."""
        super().resume_writing()
        if self.transport.is_closing() or (self._parting is not None and not self._unanswered):
            self._abort_when_stuck(_LINGER_SECONDS)
        elif self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    # What the parser calls

    def on_message_begin(self) -> None:
        """Count anew for each request of a connection."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._beside_body = 0
        self._arriving = _Arriving.HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header without white space around its value; drop a trailer, which nobody asks for."""
        if self._arriving is _Arriving.HEAD:
            super().on_header(name, value.strip(b" \t"))  # RFC 9112 §5.1

    def on_headers_complete(self) -> None:
        """Hand the request on, unless its head could be read in two ways."""
        if self.parser.get_method() == b"CONNECT":
            raise RefusalError(HTTPStatus.NOT_IMPLEMENTED, "CONNECT is not served: this is not a proxy")
        if self.parser.should_upgrade():
            return  # it is parsed again, without
        version = self.parser.get_http_version()
        _check_head(version, self.url, self.headers)
        super().on_headers_complete()
        self._arriving = _Arriving.BODY
        self._unanswered.append(self.cycle)
        if version == "1.0":  # which has no interim answers: RFC 9110 §15.2
            self.cycle.waiting_for_100_continue = False

    def on_body(self, body: bytes) -> None:
        """Don't count the body: it has limits of its own."""
        self._beside_body = max(0, self._beside_body - len(body) - _FRAMING_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Await the next request, for as long as a connection is kept."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._arriving = _Arriving.NOTHING
        self._stop_deadline()
        if not self._unanswered:  # it was refused before its body had come
            self._keep_alive()

    # What uvicorn calls

    def on_response_complete(self) -> None:
        """Answer the next request, or end the connection."""
        self._unanswered.popleft()
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_when_stuck(_LINGER_SECONDS)
        elif self._parting is not None and not self._unanswered:
            self._close()
        elif self._deadline is not None:  # the next request has begun
            self._unset_keepalive_if_required()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; a slow reader of its last answer isn't idle."""
        if self.flow.write_paused:
            self._keep_alive()
        elif self._parting is None:
            self._part(b"")

    # Ours

    def _parse(self, data: bytes) -> None:
        """Parse; the body of a request that asks for another protocol is read as any (RFC 9110 §7.8).

        httptools stops at the end of such a head and can't be told to go on, so a new parser gets the
        head once more, without the wish.
        """
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                head = [
                    self.parser.get_method() + b" " + self.url,
                    b" HTTP/" + self.parser.get_http_version().encode() + b"\r\n",
                    *(name + b": " + value + b"\r\n" for name, value in self.headers if name != b"upgrade"),
                ]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                self.parser.feed_data(b"".join([*head, b"\r\n"]))
                rest = rest[upgrade.args[0] :]
            else:
                return

    def _refuse(self, refusal: RefusalError) -> None:
        """Answer the request that is arriving, after those before it, and end the connection."""
        is_answered = self._arriving is _Arriving.BODY and (
            self.cycle not in self._unanswered or self.cycle.response_started
        )
        self._drop_unfinished()
        usual = self.server_state.default_headers
        known = self.headers if self._arriving is not _Arriving.NOTHING else []
        target = self.url if self._arriving is not _Arriving.NOTHING else b""
        self._part(b"" if is_answered else refusal.answer(target, known, usual))

    def _drop_unfinished(self) -> None:
        """Forget the request whose body won't arrive."""
        if self._arriving is not _Arriving.BODY or self.cycle not in self._unanswered:
            return
        self._unanswered.remove(self.cycle)
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
        else:
            _disconnect(self.cycle)

    def _part(self, words: bytes) -> None:
        """Read no more; once everything is answered say this, and close."""
        self._parting = words
        self._stop_deadline()
        if not self._unanswered:
            self._close()

    def _close(self) -> None:
        """Close in such a way that the client can read the last answer (RFC 9112 §9.6)."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self._parting:
            self.transport.write(self._parting)
        if self._parting and not self._has_ended:
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
        self._abort_when_stuck(_LINGER_SECONDS)

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._request_timeout, self._end_waiting)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_waiting(self) -> None:
        """Refuse a request that hasn't arrived in time."""
        self._deadline = None
        if self.flow.read_paused:
            self._start_deadline()  # it is us who keep it waiting
        elif self._arriving is _Arriving.NOTHING:
            self._part(b"")
        else:
            self._refuse(
                RefusalError(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"the request did not arrive whole within {self._request_timeout:g} s: send it again",
                )
            )

    def _abort_when_stuck(self, seconds: float) -> None:
        """Give the connection up unless the client reads something every so many seconds."""
        if self._stuck is not None:
            self._stuck.cancel()
        unread = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() < unread:
                self._abort_when_stuck(seconds)
            else:
                self.transport.abort()

        self._stuck = self.loop.call_later(seconds, look)

    def _look_for_client(self) -> None:
        """Find out whether a client that sends nothing more is still there to read.

        The end of what it sends says nothing of it. An interim answer (RFC 9110 §15.2) does: if the client
        has gone, its machine resets the connection, and the next one fails.
        """
        cycle = self._unanswered[0] if len(self._unanswered) == 1 else None
        if cycle is not None and not cycle.response_started and cycle.scope["http_version"] == "1.1":
            self.transport.write(_PROBE)
        self._probe = self.loop.call_later(_PROBE_SECONDS, self._look_for_client)


def _check_head(version: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse a head that proxies may read otherwise and httptools takes.

    Raises:
        RefusalError: If it is one.
    """
    size, hosts = len(target), 0
    codings: list[bytes] = []
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            codings.append(value.lower())
    if size > MAX_HEAD_BYTES:  # that it came in one segment with the end of another wasn't counted
        raise _too_large()
    if version not in {"1.0", "1.1"}:
        raise RefusalError(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is served here, HTTP/2 on the gRPC address"
        )
    if hosts > 1 or (hosts == 0 and version == "1.1"):  # RFC 9112 §3.2
        raise RefusalError(HTTPStatus.BAD_REQUEST, "the request must have one header host")
    if b"#" in target:  # RFC 9112 §3.2; it would be cut off
        raise RefusalError(HTTPStatus.BAD_REQUEST, "the request's target must be a path, without a fragment")
    if not target.startswith(b"/") and not _has_path(target):
        raise RefusalError(HTTPStatus.BAD_REQUEST, "the request's target must be a path")
    if codings and version == "1.0":  # RFC 9112 §6.1
        raise RefusalError(HTTPStatus.BAD_REQUEST, "HTTP/1.0 has no transfer-encoding: send content-length")
    if codings not in ([], [b"chunked"]):
        raise RefusalError(HTTPStatus.NOT_IMPLEMENTED, "no transfer-encoding is taken but chunked")


def _too_large() -> RefusalError:
    return RefusalError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is larger than 64 KiB"
    )


def _has_path(target: bytes) -> bool:
    try:
        return bool(httptools.parse_url(target).path)
    except httptools.HttpParserInvalidURLError:
        return False


def _refusal_for(error: httptools.HttpParserError) -> RefusalError:
    if not isinstance(error, httptools.HttpParserCallbackError):
        return RefusalError(HTTPStatus.BAD_REQUEST, f"the request is not valid HTTP/1.1: {error}")
    if isinstance(error.__context__, RefusalError):
        return error.__context__
    log.error("unforeseen error in a request's head", exc_info=error.__context__)
    return RefusalError(HTTPStatus.BAD_REQUEST, "the request can't be read")


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the application that its client has gone."""
    cycle.disconnected = True
    cycle.message_event.set()
