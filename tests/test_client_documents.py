"""The programs and calls of docs/clients.md work as they stand, and there is one of each RPC."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dashkeeper.auth import REQUIRED_SCOPE
from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from tests.api import Api
from tests.clients import executable
from tests.proxy import proxy_of
from tests.python_client import PYTHON, ROOT
from tests.server import make_token
from tests.typescript import CLIENT, ENVIRONMENT, check_types, packed_client, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server import RunningServer

PAGE = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
RPCS = {
    f"/{desc.type_name}/{method.name}"
    for desc in (DashboardsService.desc(), RegistrationsService.desc())
    for method in desc.methods
}
OURS = {
    str(file.relative_to(ROOT / "proto"))
    for folder in ("dashboards", "insights", "registrations", "rules")
    for file in (ROOT / "proto" / folder).rglob("*.proto")
}
OPTIONS = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "target": "ES2023",
    "module": "NodeNext",
    "typeRoots": [str(CLIENT / "node_modules/@types")],
    "types": ["node"],
    "outDir": "out",
}


def blocks(language: str) -> list[str]:
    """Return the page's blocks of a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found


*WAYS, CALLS = blocks("bash")
(PLAIN,) = (number for number, program in enumerate(blocks("ts")) if "mayBeRepeated" in program)
"""The number of the program with plain connect-es."""


def here(text: str, server: RunningServer, project_id: str) -> str:
    """Return a program of the page for this server and project, from the folder of this one."""
    text = text.replace("http://127.0.0.1:8080", server.http).replace("127.0.0.1:50051", server.grpc)
    return re.sub(r"\bdemo\b", project_id, text).replace("../dashkeeper", str(ROOT))


def printed(program: str) -> list[str]:
    """Return what a program says that it prints."""
    return re.findall(r"(?://|#) prints (.*)", program)


def template_of(language: str) -> str:
    """Return the page's buf.gen.yaml for a language."""
    (template,) = (block for block in blocks("yaml") if f", for {language}\n" in block)
    return template


def generate(folder: Path, language: str, programs: Path | None = None) -> None:
    """Run `buf generate` as the page says, in a folder beside this project; programs come before others."""
    (folder / "buf.gen.yaml").write_text(
        template_of(language).replace("../dashkeeper", os.path.relpath(ROOT, folder))
    )
    path = ENVIRONMENT["PATH"] if programs is None else f"{programs}{os.pathsep}{ENVIRONMENT['PATH']}"
    done = run("buf", "generate", folder=folder, environment={**ENVIRONMENT, "PATH": path})
    assert done.returncode == 0, done.stdout


STAND_IN = f"""#!{sys.executable}
import json, sys
from pathlib import Path
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

if "--version" in sys.argv:
    sys.exit(print("libprotoc 33.0"))
data = sys.stdin.buffer.read()
if "--descriptor_set_in=/dev/stdin" in sys.argv:
    files, wanted, parameter = FileDescriptorSet.FromString(data).file, sys.argv, ""
else:
    request = CodeGeneratorRequest.FromString(data)
    files, wanted, parameter = request.proto_file, request.file_to_generate, request.parameter
with Path(__file__ + ".asked").open("a") as asked:
    for file in files:
        options = file.options
        packages = [options.go_package, options.java_package, options.java_multiple_files]
        print(json.dumps([file.name, file.name in wanted, parameter, *packages]), file=asked)
"""


class Asked(NamedTuple):
    """What buf asks a plugin to make of a file."""

    name: str
    is_wanted: bool
    parameter: str
    go_package: str
    java_package: str
    java_multiple_files: bool


def asked_of(language: str, folder: Path) -> dict[str, dict[str, Asked]]:
    """Generate as the page says, the plugins being programs that note what they are asked for."""
    programs = folder / "programs"
    programs.mkdir()
    local = set(re.findall(r"local: (\S+)", template_of(language)))
    for name in {*local, "protoc"}:
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    generate(folder, language, programs)
    found: dict[str, dict[str, Asked]] = {}
    for notes in programs.glob("*.asked"):
        asked = [Asked(*json.loads(line)) for line in notes.read_text(encoding="utf-8").splitlines()]
        # buf asks folder by folder: a file that one needs is wanted for another.
        found[notes.stem] = {file.name: file for file in sorted(asked, key=lambda file: file.is_wanted)}
    return found


def environment(project_id: str) -> dict[str, str]:
    return {**ENVIRONMENT, "TOKEN": make_token(project_id)}


def test_page_has_a_call_of_each_rpc() -> None:
    called = [f"/{name}" for name in re.findall(r"\bcall (\S+/\S+) ['\"]", CALLS)]
    assert sorted(called) == sorted(RPCS)
    assert set(REQUIRED_SCOPE) == RPCS, "these are all services"


@pytest.mark.parametrize(
    ("way", "program", "protocol"),
    [(WAYS[0], "grpcurl", "grpc"), (WAYS[1], "buf", "grpc"), (WAYS[2], "buf", "connect")],
    ids=["grpcurl", "buf-curl-grpc", "buf-curl-connect"],
)
def test_calls_reach_each_rpc_in_each_way(
    way: str, program: str, protocol: str, sqlite_server: RunningServer, project_id: str
) -> None:
    executable(program)
    assert f"  {program} " in way
    script = here(f"{way}\n{CALLS}", sqlite_server, project_id)
    done = run("bash", "-euo", "pipefail", "-c", script, environment=environment(project_id))
    assert done.returncode == 0, done.stdout
    answered = [
        (record["method"], record["protocol"], record["code"])
        for record in sqlite_server.logged_calls(len(RPCS), project=project_id)
    ]
    assert sorted(answered) == [(name, protocol, "ok") for name in sorted(RPCS)]


def test_python_program_prints_what_it_says(sqlite_server: RunningServer, project_id: str) -> None:
    (program,) = blocks("python")
    done = subprocess.run(
        [PYTHON, "-P", "-W", "error", "-c", here(program, sqlite_server, project_id)],
        env=environment(project_id),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout.splitlines(), done.stderr) == (printed(program), "")


def test_stubs_generated_as_the_page_says_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir()
    (script,) = blocks("sh")
    script = script.replace("../dashkeeper", str(ROOT))
    generated = run("bash", "-euo", "pipefail", "-c", script, folder=tmp_path)
    assert generated.returncode == 0, generated.stdout
    imports = "import dashboards.v1.dashboards_pb2_grpc, registrations.v1.registrations_pb2_grpc"
    done = subprocess.run(
        [PYTHON, "-W", "error", "-c", imports],
        cwd=tmp_path / "gen",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packed client, the packages that the page names, and generated code."""
    folder = tmp_path_factory.mktemp("consumer")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    modules = folder / "node_modules"
    with tarfile.open(packed_client()) as package:
        package.extractall(modules / "@dashkeeper", filter="data")
    (modules / "@dashkeeper/package").rename(modules / "@dashkeeper/client")
    # That the package can be installed is shown elsewhere; the others are those beside its source.
    for name in ("@bufbuild", "@connectrpc", "@grpc", ".bin"):
        (modules / name).symlink_to(CLIENT / "node_modules" / name)
    generate(folder, "TypeScript")
    return folder


@pytest.fixture(scope="module")
def compiled(consumer: Path) -> Path:
    """The page's TypeScript programs, compiled as strictly as can be."""
    programs = {f"program{number}.ts": program for number, program in enumerate(blocks("ts"))}
    for name, program in programs.items():
        (consumer / name).write_text(program.replace("../dashkeeper", str(ROOT)), encoding="utf-8")
    (consumer / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": [*programs]}))
    checked = check_types(consumer)
    assert checked.returncode == 0, checked.stdout
    return consumer


def run_typescript(
    compiled: Path, number: int, server: RunningServer, project_id: str, *changes: tuple[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run one of the programs, changed."""
    program = (compiled / f"out/program{number}.js").read_text(encoding="utf-8")
    for change in changes:
        assert change[0] in program
        program = program.replace(*change)
    file = compiled / f"out/{project_id}.js"
    file.write_text(here(program, server, project_id), encoding="utf-8")
    return run("node", file, folder=compiled, environment=environment(project_id))


@pytest.mark.parametrize("number", range(len(blocks("ts"))))
def test_typescript_program_prints_what_it_says(
    number: int, compiled: Path, sqlite_server: RunningServer, project_id: str
) -> None:
    done = run_typescript(compiled, number, sqlite_server, project_id)
    assert (done.stdout.splitlines(), done.returncode) == (printed(blocks("ts")[number]), 0)


def test_json_by_grpc_is_refused_as_the_page_says(
    compiled: Path, sqlite_server: RunningServer, project_id: str
) -> None:
    change = ("baseUrl:", "useBinaryFormat: false, baseUrl:")
    done = run_typescript(compiled, PLAIN, sqlite_server, project_id, change)
    assert "[invalid_argument]" in done.stdout


@pytest.mark.parametrize("transport", ["grpc", "connect"])
async def test_plain_client_whose_connection_is_cut_repeats_the_write_and_it_is_done_once(
    transport: str, compiled: Path, sqlite_server: RunningServer, project_id: str
) -> None:
    def creates() -> int:
        done = [(record.get("project"), record.get("method")) for record in sqlite_server.log_records()]
        return done.count((project_id, "/dashboards.v1.DashboardsService/Create"))

    address, changes = sqlite_server.grpc, list[tuple[str, str]]()
    if transport == "connect":
        address = sqlite_server.http.removeprefix("http://")
        changes = [
            ("createGrpcTransport", "createConnectTransport"),
            ("baseUrl:", 'httpVersion: "1.1", baseUrl:'),
        ]
    async with proxy_of(address) as proxy, asyncio.TaskGroup() as group:
        proxy.passes_answers.clear()
        server = dataclasses.replace(sqlite_server, grpc=proxy.address)
        running = group.create_task(
            asyncio.to_thread(run_typescript, compiled, PLAIN, server, project_id, *changes)
        )
        while not (creates() or running.done()):  # noqa: ASYNC110 # a log has no event
            await asyncio.sleep(0.05)  # between two looks at the log
        proxy.cut()
    assert running.result().stdout.splitlines() == printed(blocks("ts")[PLAIN])
    assert creates() == 2
    api = Api(sqlite_server, "connect-json", make_token(project_id), project_id)
    names = [dashboard["name"] for dashboard in api.call("List", {}).body["dashboards"]]
    api.close()
    assert names == ["Plain"]


def test_buf_gen_yaml_of_go_gives_our_files_packages_and_leaves_others_theirs(tmp_path: Path) -> None:
    by_plugin = asked_of("Go", tmp_path)
    assert set(by_plugin) == {"protoc-gen-go", "protoc-gen-go-grpc"}
    for asked in by_plugin.values():
        own = "example.com/yours/gen/dashboards/v1;dashboardsv1"
        assert asked["dashboards/v1/tile.proto"].go_package == own
        assert asked["buf/validate/validate.proto"].go_package.startswith("buf.build/gen/go/")
        assert {file.parameter for file in asked.values()} == {"paths=source_relative"}
        assert {name for name, file in asked.items() if file.is_wanted} == OURS


def test_buf_gen_yaml_of_java_gives_our_files_packages_and_leaves_others_theirs(tmp_path: Path) -> None:
    by_plugin = asked_of("Java", tmp_path)
    assert set(by_plugin) == {"protoc", "protoc-gen-grpc-java"}
    for asked in by_plugin.values():
        packages = {name: asked[name].java_package for name in OURS}
        assert packages == {name: f"com.example.{name.split('/')[0]}.v1" for name in OURS}
        assert all(asked[name].java_multiple_files for name in OURS)
        assert asked["buf/validate/validate.proto"].java_package == "build.buf.validate"
        assert {name for name, file in asked.items() if file.is_wanted} == OURS
