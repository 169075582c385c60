"""The clients that others call the server by, each behind one face: ProtoJSON in, a Reply out."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import grpc
import pytest
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from pyqwest import Client as HTTPClient
from pyqwest import HTTPTransport, HTTPVersion

from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsServiceClient
from dashkeeper.gen.google.rpc.error_details_pb import ErrorInfo
from tests.api import METHODS, Reply, connect_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connectrpc.codec import Codec
    from protobuf import Message

    from tests.server import RunningServer
    from tests.tiles import Json

SERVICE = "dashboards.v1.DashboardsService"
PROTO = Path(__file__).parent.parent / "proto"
READS = ("Get", "List")


class Client(Protocol):
    """Calls DashboardsService, with a token and a project."""

    def call(self, method: str, request: Json) -> Reply:
        """Call a method with a request as ProtoJSON."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def executable(name: str) -> str:
    """Return the path of a program of this environment, or else of the machine; skip where there is none."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.skip(f"{name} is not installed: install it, or put it on PATH")
    return found


class Program:
    """A client that is a program, run once for each call."""

    def __init__(self, command: list[str], headers: Mapping[str, str]) -> None:
        named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        self._command = [executable(command[0]), *command[1:], *named]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the program with its own options and these."""
        return subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, check=False, timeout=60
        )

    def close(self) -> None:
        """Do nothing: the program has ended."""


class Curl(Program):
    """Plain curl: POST with JSON, and reads by GET where asked."""

    def __init__(self, server: RunningServer, headers: Mapping[str, str], *, get: bool = False) -> None:
        super().__init__(["curl", "-sS", "-w", "\n%{http_code}"], headers)
        self._url = f"{server.http}/{SERVICE}"
        self._get = get

    def call(self, method: str, request: Json) -> Reply:
        """Call a method."""
        text = json.dumps(request, ensure_ascii=False)
        if self._get and method in READS:
            query = ["-G", "-d", "connect=v1", "-d", "encoding=json", "--data-urlencode", f"message={text}"]
        else:
            query = ["-H", "content-type: application/json", "--data-binary", text]
        result = self.run(*query, f"{self._url}/{method}")
        assert result.returncode == 0, result.stderr
        body, _, status = result.stdout.rpartition("\n")
        return Reply("ok", json.loads(body)) if status == "200" else connect_error(body.encode(), {})


class BufCurl(Program):
    """`buf curl`, with reflection over gRPC or with the descriptor set that the server gives."""

    def __init__(self, server: RunningServer, headers: Mapping[str, str], *options: str) -> None:
        is_grpc = "grpc" in options
        schema = ["--http2-prior-knowledge"] if is_grpc else ["--schema", f"{server.http}/descriptors.binpb"]
        super().__init__(["buf", "curl", "--protocol", *options, *schema], headers)
        self._url = f"http://{server.grpc}/{SERVICE}" if is_grpc else f"{server.http}/{SERVICE}"

    def call(self, method: str, request: Json) -> Reply:
        """Call a method."""
        result = self.run("-d", json.dumps(request), f"{self._url}/{method}")
        if result.returncode == 0:
            return Reply("ok", json.loads(result.stdout))
        return connect_error(result.stderr.encode(), {})


class Grpcurl(Program):
    """grpcurl, with reflection. It writes a FieldMask as the message that it is."""

    def __init__(self, server: RunningServer, headers: Mapping[str, str]) -> None:
        super().__init__(["grpcurl", "-plaintext"], headers)
        self._address = server.grpc

    def call(self, method: str, request: Json) -> Reply:
        """Call a method."""
        if "updateMask" in request:
            request = {**request, "updateMask": {"paths": request["updateMask"].split(",")}}
        result = self.run("-d", json.dumps(request), self._address, f"{SERVICE}/{method}")
        if result.returncode == 0:
            return Reply("ok", json.loads(result.stdout))
        code = re.search(r"Code: (\w+)", result.stderr)
        assert code is not None, result.stderr
        reply = Reply(re.sub(r"(?<!^)(?=[A-Z])", "_", code[1]).lower())
        for line in re.findall(r"^\s*\d+\)\s*(\{.*\})$", result.stderr, re.MULTILINE):
            detail: Json = json.loads(line)
            if detail["@type"].endswith("ErrorInfo"):
                reply.reason, reply.metadata = detail["reason"], detail["metadata"]
        return reply


class Grpcio:
    """grpcio, with the stubs that grpcio-tools generates for Google's protobuf."""

    def __init__(self, stubs: Path, server: RunningServer, headers: Mapping[str, str]) -> None:
        self._json_format: Any = importlib.import_module("google.protobuf.json_format")
        self._status: Any = importlib.import_module("google.rpc.status_pb2")
        factory: Any = importlib.import_module("google.protobuf.message_factory")
        sys.path.append(str(stubs))
        try:
            messages: Any = importlib.import_module("dashboards.v1.dashboards_pb2")
            services: Any = importlib.import_module("dashboards.v1.dashboards_pb2_grpc")
        finally:
            sys.path.remove(str(stubs))
        methods = messages.DESCRIPTOR.services_by_name["DashboardsService"].methods
        self._inputs = {method.name: factory.GetMessageClass(method.input_type) for method in methods}
        self._metadata = tuple(headers.items())
        self._channel = grpc.insecure_channel(server.grpc)
        self._stub = services.DashboardsServiceStub(self._channel)

    def call(self, method: str, request: Json) -> Reply:
        """Call a method."""
        message = self._json_format.ParseDict(request, self._inputs[method]())
        try:
            answer = getattr(self._stub, method)(message, metadata=self._metadata, timeout=30)
        except grpc.RpcError as error:
            call = cast("grpc.Call", error)
            reply = Reply(call.code().name.lower(), message=call.details() or "")
            trailers: dict[str, Any] = dict(cast("Any", call.trailing_metadata()))
            status = self._status.Status.FromString(trailers["grpc-status-details-bin"])
            for detail in status.details:
                if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                    _take(reply, detail.value)
            return reply
        return Reply("ok", self._json_format.MessageToDict(answer))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


class Connectrpc:
    """connectrpc's own client, which is generated beside the server."""

    def __init__(
        self,
        server: RunningServer,
        headers: Mapping[str, str],
        protocol: ProtocolType,
        codec: Codec | None = None,
    ) -> None:
        self._runner = asyncio.Runner()
        self._headers = headers
        address, http_client = server.http, None
        if protocol is ProtocolType.GRPC:
            address = f"http://{server.grpc}"
            http_client = HTTPClient(HTTPTransport(http_version=HTTPVersion.HTTP2))
        self._client = DashboardsServiceClient(
            address, protocol=protocol, codec=codec, http_client=http_client
        )

    def call(self, method: str, request: Json) -> Reply:
        """Call a method."""
        return self._runner.run(self._call(method, request))

    async def _call(self, method: str, request: Json) -> Reply:
        message = METHODS[method].input.type.from_json(json.dumps(request))
        try:
            answer: Message = await getattr(self._client, method.lower())(message, headers=self._headers)
        except ConnectError as error:
            reply = Reply(error.code.value, message=error.message)
            for detail in error.details:
                if detail.type_name == "google.rpc.ErrorInfo":
                    _take(reply, detail.message_bytes)
            return reply
        return Reply("ok", json.loads(answer.to_json()))

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._client.close())
        self._runner.close()


def _take(reply: Reply, error_info: bytes) -> None:
    info = ErrorInfo.from_binary(error_info)
    reply.reason, reply.metadata = info.reason, dict(info.metadata)


def generate_stubs(folder: Path) -> None:
    """Generate stubs for Google's protobuf and grpcio, as a client's build would.

    Raises:
        CalledProcessError: If protoc doesn't take the files.
    """
    vendor = PROTO / "vendor"
    folders = ("dashboards", "insights", "rules")
    files = [file for folder in folders for file in (PROTO / folder).rglob("*.proto")]
    names = [*(str(file.relative_to(PROTO)) for file in files), "buf/validate/validate.proto"]
    roots = [f"-I{PROTO}", f"-I{vendor}"]
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *roots, *outputs, *names], check=True)
