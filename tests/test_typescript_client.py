"""The TypeScript client in Node and in Chromium: clients/typescript/test, run against real servers."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.clients import executable
from tests.ports import free_port
from tests.server import running_server
from tests.tls import make_certificate
from tests.typescript import (
    CLIENT,
    SCREENSHOTS,
    TESTS,
    check_types,
    packed_client,
    run,
    run_tests,
    surroundings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server import RunningServer

PROTOCOLS = {"connect", "grpc", "grpc-web"}


class Page(NamedTuple):
    """A place of its own for a page: a folder, and the origin at which a browser finds it."""

    folder: Path
    origin: str


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name there
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield Page(folder, f"http://127.0.0.1:{http.server_port}")
        http.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, page: Page) -> Iterator[RunningServer]:
    """A server that the page may call, and that takes no token for a moment too long."""
    packed_client()
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, CORS_ORIGINS=page.origin, JWT_LEEWAY="0s") as running:
        yield running


def test_session_works_over_each_protocol_with_this_and_with_plain_clients(
    server: RunningServer, project_id: str
) -> None:
    plain = CLIENT / "build/plain"
    shutil.rmtree(plain, ignore_errors=True)
    plugin = {
        "local": "node_modules/.bin/protoc-gen-es",
        "out": str(plain),
        "opt": ["target=js", "import_extension=js"],
    }
    template = json.dumps({"version": "v2", "inputs": [{"directory": "../.."}], "plugins": [plugin]})
    generated = run("buf", "generate", "--template", template)
    assert generated.returncode == 0, generated.stdout
    module = plain / "dashboards/v1/dashboards_pb.js"
    run_tests("session.test.ts", surroundings(server, project_id, PLAIN=module))


def test_session_outlives_expired_tokens_lost_answers_and_deadlines(
    server: RunningServer, project_id: str
) -> None:
    run_tests("faults.test.ts", surroundings(server, project_id))


def test_what_no_attempt_can_mend_is_told_at_once(
    server: RunningServer, project_id: str, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    run_tests("permanent.test.ts", surroundings(server, project_id, CERTIFICATE=certificate, KEY=key))


def test_grpc_js_works_with_the_protos_loaded_at_run_time(server: RunningServer, project_id: str) -> None:
    run_tests("grpc_js.test.ts", surroundings(server, project_id))


def test_browser_edits_a_dashboard_on_a_page_of_another_origin(
    server: RunningServer, project_id: str, page: Page
) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    more = {
        "CHROMIUM": executable("chromium"),
        "PAGE_FOLDER": page.folder,
        "PAGE_ORIGIN": page.origin,
        "SCREENSHOTS": SCREENSHOTS,
    }
    run_tests("browser.test.ts", surroundings(server, project_id, **more))


def wait_for_writes(server: RunningServer, client: subprocess.Popen[str]) -> None:
    """Wait until the server has done some over each protocol."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and client.poll() is None:
        done = [
            record.get("protocol")
            for record in server.log_records()
            if record.get("code") == "ok" and str(record.get("method")).endswith("Update")
        ]
        if all(done.count(protocol) >= 5 for protocol in PROTOCOLS):
            return
        time.sleep(0.05)  # between two looks at the log
    client.kill()
    raise AssertionError(f"the writes don't go on: {client.communicate()[0]}")


def test_restarts_in_a_session_lose_no_write_and_do_none_twice(tmp_path: Path, project_id: str) -> None:
    """A power cut, then an operator's restart, under clients that write without a pause."""
    packed_client()
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("HTTP_ADDRESS", "GRPC_ADDRESS")}
    with (
        running_server(tmp_path, **addresses) as first,
        subprocess.Popen(
            [executable("node"), TESTS / "restarts.ts"],
            env=surroundings(first, project_id),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as client,
    ):
        try:
            wait_for_writes(first, client)
            first.kill()
            with running_server(tmp_path, **addresses) as second:
                wait_for_writes(second, client)
                second.stop()
            with running_server(tmp_path, **addresses) as third:
                wait_for_writes(third, client)
                output, _ = client.communicate(timeout=60)
        finally:
            client.kill()
    assert client.returncode == 0, output
    assert output.startswith("done")


@pytest.fixture(scope="module")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's folder, empty but for the package that was installed into it."""
    folder = tmp_path_factory.mktemp("consumer")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    package = packed_client()
    installed = run("npm", "install", "--prefer-offline", "--loglevel=error", package, folder=folder)
    assert installed.returncode == 0, installed.stdout
    return folder


def project(consumer: Path, **programs: str) -> Path:
    """Make a folder of programs, strictly typed, with the module that the seed's snippet imports."""
    folder = consumer / next(iter(programs))
    connect = folder / "gen/dashboards/v1/dashboards_connect.ts"
    connect.parent.mkdir(parents=True)
    connect.write_text('export * from "@dashkeeper/client/dashboards/v1/dashboards_connect";\n')
    options = {
        "strict": True,
        "noEmit": True,
        "target": "ES2023",
        "module": "ESNext",
        "moduleResolution": "bundler",
        "typeRoots": [str(CLIENT / "node_modules/@types")],
        "types": ["node"],
    }
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    for name, program in programs.items():
        (folder / f"{name}.ts").write_text(program, encoding="utf-8")
    return folder


def check_and_run(folder: Path, environment: dict[str, str]) -> str:
    """Check the types of a project, bundle it and run it; return what it printed."""
    checked = check_types(folder)
    assert checked.returncode == 0, checked.stdout
    options = ["--bundle", "--platform=node", "--format=esm", "--log-level=warning", "--outfile=bundle.js"]
    bundled = run(CLIENT / "node_modules/esbuild/bin/esbuild", f"{folder.name}.ts", *options, folder=folder)
    assert bundled.returncode == 0, bundled.stdout
    done = run("node", "bundle.js", folder=folder, environment=environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def seed_program() -> str:
    """Return the seed's snippet as it is printed, after what it takes for granted."""
    granted = """
        import { createClient, createTransport } from "@dashkeeper/client";
        const setting = (name: string) => process.env[name] ?? "";
        const jwtTransport = createTransport({
          baseUrl: setting("DASHKEEPER_HTTP"),
          token: setting("TOKEN"),
          projectId: setting("DASHKEEPER_PROJECT"),
        });
    """
    return granted + (TESTS / "seed_snippet.txt").read_text(encoding="utf-8")


def test_package_in_an_empty_folder_runs_the_snippet_of_the_seed(
    consumer: Path, server: RunningServer, project_id: str
) -> None:
    look = """
        const { dashboard: got } = await client.get({ id: dashboard.id });
        console.log(got.tiles[0]?.insight?.query.events[0]?.name);
    """
    folder = project(consumer, seed=seed_program() + look)
    assert check_and_run(folder, surroundings(server, project_id)) == "signup\n"


def test_misspelt_words_dont_compile(consumer: Path) -> None:
    wrongs = {
        "'TILE_TYPE_INSIGHT'": "'TILE_TYPE_INSIHGT'",
        "'GRANULARITY_DAY'": "'DAY'",
        "dashboardId:": "dashboardID:",
        "h: 4": "h: '4'",
        "DashboardsService, jwtTransport": "DashboardsService",
        "client.upsert": "client.upsret",
        "dashboard.id": "dashboard.key",
    }
    program = seed_program()
    assert all(program.count(right) >= 1 for right in wrongs)
    programs = {f"wrong{i}": program.replace(*change) for i, change in enumerate(wrongs.items())}
    checked = check_types(project(consumer, **programs))
    assert checked.returncode != 0
    errors = [line.partition("(")[0] for line in checked.stdout.splitlines() if ": error TS" in line]
    assert errors == [f"{name}.ts" for name in programs], checked.stdout


def test_readme_of_the_package_works_as_it_stands(
    consumer: Path, server: RunningServer, project_id: str
) -> None:
    text = (CLIENT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```ts\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    program = "\n".join(blocks)
    here = {"http://127.0.0.1:8080": server.http, "127.0.0.1:50051": server.grpc, "demo": project_id}
    for written, meant in here.items():
        assert written in program
        program = program.replace(written, meant)
    folder = project(consumer, readme=program)
    assert check_and_run(folder, surroundings(server, project_id)).splitlines() == re.findall(
        r"// prints (.*)", text
    )


def test_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (CLIENT / "package-lock.json").read_text(encoding="utf-8")
