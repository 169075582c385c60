"""The Python client, installed where the server isn't, against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper.auth import REQUIRED_SCOPE
from tests.ports import free_port
from tests.proxy import proxy_of
from tests.python_client import KINDS, PYTHON, ROOT, answer, run, run_both, started
from tests.server import make_token, running_server
from tests.tls import make_certificate, server_context

if TYPE_CHECKING:
    from tests.server import RunningServer

CLIENT = ROOT / "clients/python"
PACKAGE_SECONDS = 30  # the deadline of a call where nothing is said


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The client that blocks, and the one for asyncio."""
    return request.param


@pytest.fixture
def caller(sqlite_server: RunningServer, project_id: str) -> dict[str, str]:
    """What a program needs to call the shared server in a project of its own."""
    return {"target": sqlite_server.grpc, "token": make_token(project_id), "project_id": project_id}


def test_every_rpc_is_called_without_the_server_installed(
    kind: str, caller: dict[str, str], sqlite_server: RunningServer
) -> None:
    assert run("every_rpc", kind, **caller) == []
    called = {
        record["method"]
        for record in sqlite_server.log_records()
        if record.get("project") == caller["project_id"]
    }
    assert called == set(REQUIRED_SCOPE)


def test_an_expired_token_is_asked_for_anew_once_in_the_middle_of_a_session(
    tmp_path: Path, project_id: str
) -> None:
    with running_server(tmp_path, JWT_LEEWAY="0s") as server:
        expires_at = int(time.time()) + 4
        tokens = [make_token(project_id, exp=expires_at), make_token(project_id)]
        told = {"target": server.grpc, "project_id": project_id, "expires_at": expires_at}
        assert run_both("read_past_expiry", tokens=tokens, **told) == [[["OK"] * 6, [0, 1]]] * 2
        # A source that only has the old one is asked once more by each call, and the call then fails.
        refused = [["UNAUTHENTICATED"] * 6, [0] * 12]
        assert run_both("read_past_expiry", tokens=tokens[:1], **told) == [refused] * 2


def test_a_token_given_as_text_is_not_sent_twice(
    kind: str, sqlite_server: RunningServer, project_id: str
) -> None:
    before = sum(record.get("code") == "unauthenticated" for record in sqlite_server.log_records())
    told = {"target": sqlite_server.grpc, "token": "not-one", "project_id": project_id}
    assert run("read_once", kind, **told)["code"] == "UNAUTHENTICATED"
    assert len(sqlite_server.logged_calls(before + 1, code="unauthenticated")) == before + 1


def test_a_future_that_was_refused_renews_the_token_of_the_next(
    sqlite_server: RunningServer, project_id: str
) -> None:
    outcomes = run(
        "read_with_futures",
        "blocking",
        target=sqlite_server.grpc,
        tokens=["stale", make_token(project_id)],
        project_id=project_id,
    )
    # One that was refused before the interceptor looked is repeated at once.
    assert outcomes[-1] == "OK"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_writes_go_on_through_a_restart_and_each_is_done_once(
    end: str, tmp_path: Path, project_id: str
) -> None:
    count, size = 30, 500_000  # above what gRPC by itself would keep for another attempt
    with contextlib.ExitStack() as stack:
        with running_server(tmp_path, GRPC_ADDRESS=f"127.0.0.1:{free_port()}") as first:
            caller = {"target": first.grpc, "token": make_token(project_id), "project_id": project_id}
            programs = [
                stack.enter_context(started("write", kind, count=count, size=size, **caller))
                for kind in KINDS
            ]
            for program in programs:
                assert program.stdout is not None
                assert [program.stdout.readline() for _ in range(5)][-1] == "4\n"
            first.kill() if end == "kill" else first.stop()
            ended = time.monotonic()
        with running_server(tmp_path, GRPC_ADDRESS=first.grpc) as second:
            away = time.monotonic() - ended
            # Each waited for it: else all was written before the server ended.
            assert min(answer(program) for program in programs) > away / 2
            made = run("names", "blocking", **{**caller, "target": second.grpc})
    for kind in KINDS:
        assert [name for name in made if name.startswith(kind)] == [f"{kind} {n}" for n in range(count)]


async def test_a_write_whose_answer_is_lost_is_sent_again_and_done_once(
    kind: str, sqlite_server: RunningServer, project_id: str
) -> None:
    def creates() -> int:
        records = sqlite_server.log_records()
        return sum(record.get("project") == project_id for record in records)

    caller = {"token": make_token(project_id), "project_id": project_id}
    async with proxy_of(sqlite_server.grpc) as proxy:
        with started("write_on_a_signal", kind, target=proxy.address, **caller) as program:
            assert program.stdout is not None
            assert await asyncio.to_thread(program.stdout.readline) == '"ready"\n'
            proxy.passes_answers.clear()
            done = asyncio.create_task(asyncio.to_thread(answer, program, "\n"))
            async with asyncio.timeout(30):
                while creates() < 2:  # noqa: ASYNC110 # a log has no event
                    await asyncio.sleep(0.02)  # between two looks at the log
            proxy.cut()
            await done
    assert creates() == 3
    assert run("names", kind, target=sqlite_server.grpc, **caller) == ["first", "second"]


def test_a_write_that_was_cancelled_while_the_server_is_away_is_not_done_later(
    tmp_path: Path, project_id: str
) -> None:
    with running_server(tmp_path, GRPC_ADDRESS=f"127.0.0.1:{free_port()}") as first:
        caller = {"target": first.grpc, "token": make_token(project_id), "project_id": project_id}
    with started("write_after_a_cancelled_write", "asyncio", **caller) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == '"cancelled"\n'
        with running_server(tmp_path, GRPC_ADDRESS=first.grpc):
            answer(program, "\n")
            assert run("names", "asyncio", **caller) == ["wanted"]


def test_a_call_that_cannot_be_sent_ends(caller: dict[str, str]) -> None:
    unsendable = {**caller, "project_id": "d\u00e9mo"}
    assert run("send_what_cannot_be_sent", "asyncio", **unsendable) == "ExecuteBatchError"


def test_a_closed_client_raises(caller: dict[str, str]) -> None:
    assert run("call_when_closed", "blocking", **caller) == "the client is closed"


def test_a_token_may_end_with_a_newline(kind: str, caller: dict[str, str]) -> None:
    assert run("read_once", kind, **{**caller, "token": caller["token"] + "\n"}) == {"code": "OK"}


def test_a_message_used_twice_is_two_writes_and_a_request_id_of_its_own_one(
    kind: str, caller: dict[str, str]
) -> None:
    assert run("write_the_same_message_twice", kind, **caller) == [2, "", 1]


def test_a_call_ends_at_its_deadline(tmp_path: Path, project_id: str) -> None:
    with running_server(tmp_path) as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            caller = {"target": server.grpc, "token": make_token(project_id), "project_id": project_id}
            found = run_both("deadlines", **caller)
        finally:
            server.process.send_signal(signal.SIGCONT)
    for codes, (by_default, own) in found:
        assert codes == ["DEADLINE_EXCEEDED"] * 2
        # Each its own, and not the package's: however late a loaded machine lets them end.
        assert 0.4 <= by_default < PACKAGE_SECONDS
        assert 1.2 <= own < PACKAGE_SECONDS


def test_an_error_is_read_with_reason_violations_and_current_etag(kind: str, caller: dict[str, str]) -> None:
    found = run("errors", kind, **caller)
    etag = found.pop("etag")
    assert all(error["has_request_id"] for error in found.values())
    assert {name: (error["code"], error["reason"], error["etag"]) for name, error in found.items()} == {
        "conflict": ("ABORTED", "ETAG_MISMATCH", etag),
        "invalid": ("INVALID_ARGUMENT", "INVALID_REQUEST", None),
        "missing": ("NOT_FOUND", "DASHBOARD_NOT_FOUND", None),
        "project": ("PERMISSION_DENIED", "PROJECT_NOT_ALLOWED", None),
    }
    assert list(found["invalid"]["violations"]) == ["tiles[0].position"]


def test_calls_go_to_every_server_in_turn_and_on_to_the_one_that_is_left(
    tmp_path: Path, project_id: str
) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"

    def calls(server: RunningServer) -> int:
        return sum("method" in record for record in server.log_records())

    with (
        running_server(tmp_path / "first", DATABASE_URL=url) as first,
        running_server(tmp_path / "second", DATABASE_URL=url) as second,
        contextlib.ExitStack() as stack,
    ):
        caller = {"token": make_token(project_id), "project_id": project_id}
        target = f"ipv4:{first.grpc},{second.grpc}"
        programs = [
            stack.enter_context(started("read_many", kind, count=40, target=target, **caller))
            for kind in KINDS
        ]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == '"half"\n'
        # The first calls may all go to the server that was connected first.
        assert min(calls(first), calls(second)) >= 10
        first.stop()
        for program in programs:
            assert answer(program, "\n") == ["OK"] * 40


async def test_over_tls_the_token_is_a_call_credential_and_renewed_too(
    kind: str, tmp_path: Path, sqlite_server: RunningServer, project_id: str
) -> None:
    certificate, key = make_certificate(tmp_path)
    async with proxy_of(sqlite_server.grpc, server_context(certificate, key)) as proxy:
        outcomes, asked = await asyncio.to_thread(
            run,
            "read_past_expiry",
            kind,
            target=proxy.address,
            certificate=str(certificate),
            tokens=["stale", make_token(project_id)],
            expires_at=0,
            project_id=project_id,
        )
    assert (outcomes, asked) == (["OK"] * 6, [0, 1])


async def test_a_token_goes_over_the_network_in_plaintext_only_if_told(
    kind: str, sqlite_server: RunningServer, project_id: str
) -> None:
    received = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not received.done():
            received.set_result(await reader.read(3))
        writer.close()

    caller: dict[str, Any] = {"token": make_token(project_id), "project_id": project_id}
    # An address of this machine that isn't loopback by its name.
    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with listener:
        target = f"0.0.0.0:{listener.sockets[0].getsockname()[1]}"
        found = await asyncio.to_thread(run, "read_once", kind, target=target, timeout=1, **caller)
    assert found["code"] == "DEADLINE_EXCEEDED"
    assert received.result() == b"\x16\x03\x01"  # a TLS handshake
    target = sqlite_server.grpc.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 # as above
    found = await asyncio.to_thread(run, "read_once", kind, target=target, insecure=True, **caller)
    assert found["code"] == "OK"


def test_only_targets_on_this_machine_are_local() -> None:
    local = [
        "localhost:50051",
        "localhost",
        "127.0.0.1:50051",
        "[::1]:50051",
        "dns:localhost:50051",
        "dns:///127.0.0.1:50051",
        "dns://10.0.0.2/localhost:50051",
        "ipv4:127.0.0.1:50051,127.0.0.2:50051",
        "ipv6:[::1]:50051,%5B::1%5D:50052",
        "unix:/run/dashkeeper.sock",
        "unix-abstract:dashkeeper",
    ]
    remote = [
        "dashkeeper:50051",
        "localhost.example.com:50051",
        "127.0.0.1.example.com:50051",
        "10.0.0.1:50051",
        "0.0.0.0:50051",
        "dns:///dashkeeper.internal:50051",
        "ipv4:127.0.0.1:50051,10.0.0.1:50051",
        "xds:///localhost:50051",
        "[::]:50051",
        "",
    ]
    assert run("which_are_local", "blocking", targets=local + remote) == local


OTHER = """
syntax = "proto3";
package insights.v1;
import "buf/validate/validate.proto";
message InsightQuerySpec { string sql = 1 [(buf.validate.field).string.min_len = 1]; }
enum Granularity { GRANULARITY_NONE = 0; }
"""

TOGETHER = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
from insights.v1.insight_query_pb2 import InsightQuerySpec as Theirs
from dashkeeper_client.gen.insights.v1.insight_query_pb2 import EventSelector, InsightQuerySpec, TimeRange
from google.protobuf.timestamp_pb2 import Timestamp
assert Theirs.FromString(Theirs(sql="SELECT 1").SerializeToString()).sql == "SELECT 1"
start = TimeRange(start=Timestamp(seconds=1))
ours = InsightQuerySpec(events=[EventSelector(name="order")], time_range=start)
assert InsightQuerySpec.FromString(ours.SerializeToString()) == ours
assert isinstance(ours.time_range.start, Timestamp)
import protovalidate
assert len(protovalidate.collect_violations(Theirs())) == 1
"""

NEIGHBOURS = [
    "protovalidate",
    "buf.validate.validate_pb2",
    "google.rpc.error_details_pb2",
    "google.api.field_behavior_pb2",
    "insights.v1.insight_query_pb2",
    "dashkeeper_client",
    "dashkeeper_client.aio",
]


@pytest.mark.parametrize("names", [NEIGHBOURS, NEIGHBOURS[::-1]], ids=["last", "first"])
def test_the_client_lives_in_one_process_with_others_of_the_same_names(
    names: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "insights/v1/insight_query.proto"
    source.parent.mkdir(parents=True)
    source.write_text(OTHER, encoding="utf-8")
    # protovalidate before version 2 is on Google protobuf, with the rules in the default pool.
    vendor = ROOT / "proto/vendor"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}", f"-I{vendor}"]
    rules = vendor / "buf/validate/validate.proto"
    subprocess.run([*command, f"--python_out={tmp_path}", source, rules], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([PYTHON, "-c", TOGETHER, *names], check=True, env=environment)


WELL_TYPED = """
from dashkeeper_client import aio, connect, error_details
from dashkeeper_client.gen.dashboards.v1.dashboard_pb2 import Dashboard
from dashkeeper_client.gen.dashboards.v1.dashboards_pb2 import GetRequest
from dashkeeper_client.gen.dashboards.v1.tile_pb2 import TILE_TYPE_MARKDOWN, Tile
import grpc

def read() -> Dashboard | None:
    with connect("localhost:50051", token=lambda: "t", project_id="demo") as client:
        try:
            return client.dashboards.Get(GetRequest(id="growth"), timeout=1).dashboard
        except grpc.RpcError as error:
            print(error_details(error).current_etag)
            return None

async def read_too() -> Dashboard:
    async def token() -> str:
        return "t"
    async with aio.connect("localhost:50051", token=token, project_id="demo") as client:
        return (await client.dashboards.Get(GetRequest(id="growth"))).dashboard

print(Tile(type=TILE_TYPE_MARKDOWN).position.w)
"""

ILL_TYPED = """
from dashkeeper_client import connect
from dashkeeper_client.gen.dashboards.v1.dashboards_pb2 import GetRequest
from dashkeeper_client.gen.dashboards.v1.tile_pb2 import Tile

client = connect("localhost:50051", token="t", project_id="demo")
GetRequest(idd="growth")
Tile(type="TILE_TYPE_MARKDOWM")
client.dashboards.Get(GetRequest(id="growth")).dashbord
client.dashboards.Fetch(GetRequest(id="growth"))
connect("localhost:50051", token=1, project_id="demo")
"""


def test_types_pass_what_is_right_and_fail_what_is_misspelt(tmp_path: Path) -> None:
    (tmp_path / "well.py").write_text(WELL_TYPED, encoding="utf-8")
    (tmp_path / "ill.py").write_text(ILL_TYPED, encoding="utf-8")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    command = ["pyright", "--outputjson", "--pythonpath", PYTHON, "-p", tmp_path]
    environment = {**os.environ, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}
    checked = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in json.loads(checked.stdout)["generalDiagnostics"]
    }
    assert found == {("ill.py", line) for line in range(7, 12)}


def test_the_readme_runs_as_it_stands(sqlite_server: RunningServer) -> None:
    [program] = re.findall(r"```python\n(.+?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert "127.0.0.1:50051" in program
    program = program.replace("127.0.0.1:50051", sqlite_server.grpc)
    environment = {**os.environ, "TOKEN": make_token("demo")}
    command = [PYTHON, "-W", "error", "-c", program]
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "created:" in ran.stdout
    assert "['Growth']" in ran.stdout


def test_the_package_asks_for_the_versions_that_its_generated_code_needs() -> None:
    stubs = CLIENT / "src/dashkeeper_client/gen/dashboards/v1"
    grpcio = re.search(r"GRPC_GENERATED_VERSION = '(.+)'", (stubs / "dashboards_pb2_grpc.py").read_text())
    protobuf = re.search(r"# Protobuf Python Version: (.+)", (stubs / "dashboards_pb2.py").read_text())
    assert grpcio is not None
    assert protobuf is not None
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert {f"grpcio>={grpcio[1]}", f"protobuf>={protobuf[1]}"} <= set(project["dependencies"])
