"""One way to call the server over each protocol: ProtoJSON in, ProtoJSON or an error out."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import grpc
import httpx
from protobuf.wkt import Any as AnyMessage

from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.google.rpc.error_details_pb import BadRequest, ErrorInfo, RequestInfo
from dashkeeper.gen.google.rpc.status_pb import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from protobuf import DescMethod, DescService, Message

    from tests.server import RunningServer

METHODS: Mapping[str, DescMethod] = {method.name: method for method in DashboardsService.desc().methods}
TRANSPORTS = ("connect-json", "connect-proto", "grpc-web", "grpc")


@dataclass
class Reply:
    """What a call answered: `code` is "ok" or the error's code, in Connect's spelling."""

    code: str
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    message: str = ""
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    violations: dict[str, str] = field(default_factory=dict[str, str])
    """Field path → description, of a BadRequest."""
    request_id: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Response headers; over gRPC and gRPC-Web the trailers too. Names in lower case."""

    @property
    def dashboard(self) -> dict[str, Any]:
        """The answer's dashboard."""
        return self.body["dashboard"]

    @property
    def registration(self) -> dict[str, Any]:
        """The answer's registration."""
        return self.body["registration"]

    @property
    def wrapper(self) -> dict[str, Any]:
        """The answer's content, with who made it and when."""
        return self.body["contentWrapper"]


class Api:
    """Calls a service over one transport, as one caller in one project."""

    def __init__(
        self,
        server: RunningServer,
        transport: str,
        token: str,
        project_id: str,
        service: DescService | None = None,
    ) -> None:
        service = service or DashboardsService.desc()
        self.transport = transport
        self._service = service.type_name
        self._methods = {method.name: method for method in service.methods}
        self.headers = {"authorization": f"Bearer {token}", "x-project-id": project_id}
        self._server = server
        self._open = contextlib.ExitStack()

    @cached_property
    def _http(self) -> httpx.Client:
        # The server speaks plain HTTP: loading certificates would cost 37 ms a test.
        made = httpx.Client(base_url=self._server.http, timeout=60, verify=False)  # noqa: S501
        return self._open.enter_context(made)

    @cached_property
    def _channel(self) -> grpc.Channel:
        made = grpc.insecure_channel(
            self._server.grpc,
            options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)],
        )
        return self._open.enter_context(made)

    def close(self) -> None:
        """Close the connections."""
        self._open.close()

    def call(self, method: str, request: Mapping[str, Any] | None = None, **headers: str | None) -> Reply:
        """Call a method with a request as ProtoJSON; a header given as None is left out."""
        message = self._methods[method].input.type.from_json(json.dumps(request or {}))
        body = message.to_json().encode() if self.transport == "connect-json" else message.to_binary()
        return self.send(method, body, **headers)

    def send(self, method: str, body: bytes, **headers: str | None) -> Reply:
        """Call a method with a body as it stands: JSON over connect-json, else binary."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {name: value for name, value in (self.headers | named).items() if value is not None}
        path = f"/{self._service}/{method}"
        output: type[Message] = self._methods[method].output.type
        match self.transport:
            case "grpc":
                return self._send_grpc(path, body, merged, output)
            case "grpc-web":
                return self._send_grpc_web(path, body, merged, output)
            case _:
                return self._send_connect(path, body, merged, output)

    def _send_connect(self, path: str, body: bytes, headers: dict[str, str], output: type[Message]) -> Reply:
        encoding = self.transport.removeprefix("connect-")
        response = self._http.post(
            path, content=body, headers={"content-type": f"application/{encoding}", **headers}
        )
        received = {name.lower(): value for name, value in response.headers.items()}
        if response.status_code != 200:
            return connect_error(response.content, received)
        if encoding == "proto":
            return Reply("ok", json.loads(output.from_binary(response.content).to_json()), headers=received)
        return Reply("ok", response.json(), headers=received)

    def _send_grpc_web(self, path: str, body: bytes, headers: dict[str, str], output: type[Message]) -> Reply:
        response = self._http.post(
            path,
            content=b"\0" + struct.pack(">I", len(body)) + body,
            headers={"content-type": "application/grpc-web+proto", **headers},
        )
        assert response.status_code == 200, response.text
        received = {name.lower(): value for name, value in response.headers.items()}
        content, answer = response.content, b""
        while content:
            flags, (length,) = content[0], struct.unpack(">I", content[1:5])
            frame, content = content[5 : 5 + length], content[5 + length :]
            if flags & 0x80:
                lines = (line.partition(":") for line in frame.decode().splitlines() if line)
                received |= {name.strip().lower(): value.strip() for name, _, value in lines}
            else:
                answer = frame
        if received["grpc-status"] == "0":
            return Reply("ok", json.loads(output.from_binary(answer).to_json()), headers=received)
        code = next(code for code in grpc.StatusCode if str(code.value[0]) == received["grpc-status"])
        details = received.get("grpc-status-details-bin", "")
        status = Status.from_binary(base64.b64decode(details + "=" * (-len(details) % 4)))
        return _error(_spelt(code), unquote(received.get("grpc-message", "")), status.details, received)

    def _send_grpc(self, path: str, body: bytes, headers: dict[str, str], output: type[Message]) -> Reply:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path)
        try:
            answer, outcome = call.with_call(body, metadata=tuple(headers.items()), timeout=60)
        except grpc.RpcError as error:
            failed = cast("grpc.Call", error)
            trailers = _texts(failed.trailing_metadata())
            details = dict(failed.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            status = Status.from_binary(cast("bytes", details))
            return _error(_spelt(failed.code()), failed.details() or "", status.details, trailers)
        received = _texts(outcome.trailing_metadata()) | _texts(outcome.initial_metadata())
        return Reply("ok", json.loads(output.from_binary(answer).to_json()), headers=received)


def _texts(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    return {name: value for name, value in metadata or () if isinstance(value, str)}


def connect_error(content: bytes, headers: dict[str, str]) -> Reply:
    """Read a Connect error, which is JSON whatever the encoding of the call."""
    error = json.loads(content)
    details = [
        AnyMessage(
            type_url=f"type.googleapis.com/{detail['type']}",
            value=base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4)),
        )
        for detail in error.get("details", [])
    ]
    return _error(error["code"], error.get("message", ""), details, headers)


def _error(code: str, message: str, details: Iterable[AnyMessage], headers: dict[str, str]) -> Reply:
    reply = Reply(code, message=message, headers=headers)
    for detail in details:
        match detail.type_url.rpartition("/")[2]:
            case "google.rpc.ErrorInfo":
                info = ErrorInfo.from_binary(detail.value)
                reply.reason, reply.metadata = info.reason, dict(info.metadata)
            case "google.rpc.BadRequest":
                found = BadRequest.from_binary(detail.value).field_violations
                reply.violations = {violation.field: violation.description for violation in found}
            case "google.rpc.RequestInfo":
                reply.request_id = RequestInfo.from_binary(detail.value).request_id
            case _:
                pass
    return reply


def _spelt(code: grpc.StatusCode) -> str:
    return "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower()
