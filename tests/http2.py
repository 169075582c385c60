"""A gRPC call frame by frame: what grpcio's own client would not send."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded, StreamReset, TrailersReceived

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.server import RunningServer

EMPTY_MESSAGE = b"\0\0\0\0\0"


def call_grpc(
    server: RunningServer, path: str, headers: Mapping[str, str], body: bytes = EMPTY_MESSAGE
) -> dict[str, str]:
    """Send a call as it stands; return the headers and trailers of its answer."""
    host, _, port = server.grpc.rpartition(":")
    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    request = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "te": "trailers"}
    request |= {"content-type": "application/grpc", **headers}
    connection.send_headers(1, list(request.items()))
    connection.send_data(1, body, end_stream=True)
    received: dict[str, str] = {}
    with socket.create_connection((host, int(port)), timeout=30) as sending:
        while True:
            sending.sendall(connection.data_to_send())
            data = sending.recv(65_536)
            assert data, "the server closed the connection"
            for event in connection.receive_data(data):
                match event:
                    case ResponseReceived() | TrailersReceived():
                        received |= {str(name): str(value) for name, value in event.headers}
                    case StreamEnded():
                        return received
                    case StreamReset():
                        raise ConnectionError(f"the stream was reset: {event.error_code}")
                    case _:
                        pass
