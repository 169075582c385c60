"""How commands start and end where the machine is odd: streams, signals, users, encodings, -OO."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server import make_token, running_server
from tests.test_dev_mode import BIN, clean_environment, dev_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECRET = "0123456789abcdef" * 4
TOKEN_SETTINGS = {
    "DASHKEEPER_JWT_SECRET": SECRET,
    "DASHKEEPER_JWT_ISSUER": "https://issuer",
    "DASHKEEPER_JWT_AUDIENCE": "dashkeeper",
}
ANY_PORT = ["--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0"]
SERVE = ["serve", "--dev", *ANY_PORT]
COMMANDS = [["config"], ["version"], ["token", "--project", "p"], ["migrate"], ["purge"], ["--help"]]
ONE_LINE = r"dashkeeper: [^\n]+\n"


def run(folder: Path, command: Sequence[str], *, after: str = "", **variables: str) -> tuple[int, str, str]:
    """Run a command of `dashkeeper` in a shell, redirections after it; return its code and what it said."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" "$@" {after}', str(BIN / "dashkeeper"), *command],
        cwd=folder,
        env=clean_environment() | TOKEN_SETTINGS | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database."""
    made = tmp_path_factory.mktemp("folder")
    assert run(made, ["migrate"])[0] == 0
    return made


@pytest.mark.parametrize(
    ("command", "after"),
    [*((command, ">&-") for command in COMMANDS), (["config"], ">/dev/full"), (["--help"], ">/dev/full")],
)
def test_command_that_cant_write_its_answer_fails_in_one_line(
    folder: Path, command: list[str], after: str
) -> None:
    code, _, errors = run(folder, command, after=after)
    assert code == 2
    assert re.fullmatch(ONE_LINE, errors)


@pytest.mark.parametrize("command", [["config"], ["migrate"]])
def test_command_whose_answer_nobody_reads_fails_in_one_line(folder: Path, command: list[str]) -> None:
    code, _, errors = run(folder, command, after="| (exec <&-)")
    assert (code, errors) == (2, "dashkeeper: standard output can't be written: Broken pipe\n")


def test_help_whose_rest_nobody_reads_ends_without_a_word(folder: Path) -> None:
    assert run(folder, ["--help"], after="| (exec <&-)") == (1, "", "")


def test_command_with_all_streams_closed_ends_by_its_code(folder: Path) -> None:
    assert run(folder, ["config"], after="<&- >&- 2>&-") == (2, "", "")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[Any]]]:
    """Processes that end with the test, however it ends."""
    processes: list[subprocess.Popen[Any]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("after", ["<&- >&- 2>&-", ">&-", "2>&-", ">/dev/full"])
def test_serve_with_closed_streams_serves_and_stops(
    tmp_path: Path, after: str, started: list[subprocess.Popen[Any]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    at_port = ["--http-address", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$0" "$@" {after}', str(BIN / "dashkeeper"), *SERVE, *at_port],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started.append(process)
    give_up = time.monotonic() + 30
    while True:
        assert process.poll() is None, "it ended"
        assert time.monotonic() < give_up
        try:
            ready = httpx.get(f"http://127.0.0.1:{port}/readyz").status_code
            break
        except httpx.TransportError:
            time.sleep(0.02)  # between two tries
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (ready, process.returncode) == (200, 0)
    assert b"Traceback" not in errors
    assert b"ssertion" not in errors


def is_handling(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Whether the process has a handler for a signal: before, Python itself hasn't started."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return True  # it has ended
    caught = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return caught is None or bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("command", [SERVE, ["migrate"]], ids=lambda command: command[0])
def test_signal_in_the_first_second_ends_a_command_in_one_line(
    tmp_path: Path, command: list[str], number: signal.Signals
) -> None:
    for milliseconds in (0, 100, 400, 700, 850):  # anywhere in the imports and the start
        process = subprocess.Popen(
            [str(BIN / "dashkeeper"), *command],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        give_up = time.monotonic() + 30
        while not is_handling(process, signal.SIGTERM):
            if time.monotonic() > give_up:
                process.kill()
                raise AssertionError(process.communicate())
            time.sleep(0.001)  # between two looks
        time.sleep(milliseconds / 1000)  # the moment itself is what varies
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        told = errors.decode()
        assert "Traceback" not in told
        assert "Exception" not in told
        if process.returncode == -number:
            assert told == f"dashkeeper: stopped by {number.name} before it was done\n"
        elif command is SERVE:
            assert (process.returncode, told.splitlines()[-1].count("stopping")) == (0, 1), told
        else:
            assert process.returncode == 0 or "schema" in told, told  # it was done before
            assert output or told


def test_little_is_imported_before_signals_are_handled() -> None:
    """SIGINT ends in a traceback until then."""
    program = "import sys, dashkeeper.__main__; print(*sys.modules)"
    source = {"PYTHONPATH": str(Path(__file__).parent.parent / "src")}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env=source, capture_output=True, text=True, check=True
    )
    assert {"typing", "contextlib", "asyncio"} & set(done.stdout.split()) == set()


def test_two_first_starts_at_once_both_run_on_one_set_of_samples(
    tmp_path: Path, started: list[subprocess.Popen[Any]]
) -> None:
    for attempt in range(2):  # the samples were added twice in 5 of 6
        place = tmp_path / str(attempt)
        place.mkdir()
        processes = [
            subprocess.Popen(
                [str(BIN / "dashkeeper"), *SERVE],
                cwd=place,
                env=clean_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(3)
        ]
        started += processes
        greetings: list[str] = []
        for process in processes:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            greeting = ""
            while not greeting.endswith("/Create\n") and (line := next(lines, "")):
                greeting += line
            greetings.append(greeting)
        tokens = [re.findall(r"export TOKEN=(\S+)", greeting) for greeting in greetings]
        url = re.findall(r"http://[^/]+", greetings[0])[0]
        headers = {"authorization": f"Bearer {tokens[-1][0]}", "x-project-id": "demo"}
        dashboards = httpx.post(f"{url}/dashboards.v1.DashboardsService/List", json={}, headers=headers)
        registrations = httpx.post(
            f"{url}/registrations.v1.RegistrationsService/List",
            json={"organisationId": "acme", "includeContent": True},
            headers=headers,
        )
        for process in processes:
            process.send_signal(signal.SIGINT)
        assert [process.wait(timeout=40) for process in processes] == [0, 0, 0]
        assert sorted(it["name"] for it in dashboards.json()["dashboards"]) == ["Growth KPIs", "Revenue"]
        assert len(registrations.json()["registrations"]) == 1
        assert len(registrations.json()["contentWrappers"]) == 1


def test_second_start_on_the_same_port_is_told_in_one_line(tmp_path: Path) -> None:
    with dev_server(tmp_path) as first:
        address = re.findall(r"http://([^/]+)", first.greeting)[0]
        code, output, errors = run(tmp_path, [*SERVE[:2], "--http-address", address, "--grpc-address", "off"])
    *_, last = errors.splitlines()
    assert (code, output) == (2, "")
    assert address in last


def test_log_lines_are_json_where_standard_error_is_ascii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    subjects = ["Zoë 😀", "\\ud83d", "line\u2028break"]
    with running_server(tmp_path) as server:
        for subject in subjects:
            headers = {
                "authorization": f"Bearer {make_token('p', subject=subject)}",
                "x-project-id": "p",
            }
            url = f"{server.http}/dashboards.v1.DashboardsService/List"
            assert httpx.post(url, json={}, headers=headers).status_code == 200
    lines = (tmp_path / "log").read_bytes().decode("ascii").splitlines()
    logged = [json.loads(line).get("subject") for line in lines]
    assert [it for it in logged if it] == ["Zoë 😀", "\\ud83d", "line\u2028break"]


def test_log_line_of_half_a_character_is_json_for_every_reader(tmp_path: Path) -> None:
    program = r"""import logging; from dashkeeper.logs import configure_logging
configure_logging("info", "json"); logging.getLogger().info("half \ud83d a character, a whole \U0001f600")"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stderr)["message"] == "half ? a character, a whole 😀"
    assert done.stderr.isascii()


def test_warning_of_a_library_is_a_line_of_the_log(tmp_path: Path) -> None:
    program = """import warnings; from dashkeeper.logs import configure_logging
configure_logging("info", "json"); warnings.warn("a file that others may read")"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True)
    assert "a file that others may read" in json.loads(done.stderr)["message"]


def test_config_prints_what_ascii_cant_say(tmp_path: Path) -> None:
    code, output, errors = run(tmp_path, ["config", "--jwt-issuer", "Zoë"], PYTHONIOENCODING="ascii")
    assert (code, errors) == (0, "")
    assert "DASHKEEPER_JWT_ISSUER=Zo\\xeb\n" in output


def test_serve_without_docstrings_and_asserts_answers_the_first_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    headers = {"authorization": f"Bearer {make_token('p')}", "x-project-id": "p"}
    with running_server(tmp_path) as server, httpx.Client(base_url=server.http, headers=headers) as client:
        dashboards = "/dashboards.v1.DashboardsService"
        tile: dict[str, Any] = {"type": "TILE_TYPE_MARKDOWN", "position": {"w": 6, "h": 2}}
        tile["markdown"] = {"content": "# Goals"}
        answers = [
            client.get("/v1/openapi.json"),
            client.post(f"{dashboards}/Create", json={"name": "Growth", "dashboardId": "growth"}),
            client.post(f"{dashboards}/Upsert", json={"dashboardId": "growth", "tiles": [tile]}),
            client.post(f"{dashboards}/List", json={}),
            client.get("/v1/dashboards", params={"organisation_id": "acme"}),
        ]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert answers[0].json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("command", [["--help"], ["token", "--help"]])
def test_help_without_docstrings_says_as_much(tmp_path: Path, command: list[str]) -> None:
    assert run(tmp_path, command, PYTHONOPTIMIZE="2") == run(tmp_path, command)


def test_env_file_that_may_not_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DASHKEEPER_MAX_TILES=7\n", encoding="ascii")
    file.chmod(0)
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    for command in ("config", "migrate", "purge", "serve"):
        done = subprocess.run(
            [*powerless, str(BIN / "dashkeeper"), command],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"dashkeeper: .env can't be read: [^\n]+\n", done.stderr)


def as_nobody_known(folder: Path) -> list[str]:
    """Return what runs a command as a user that has no name; it may read all, as Python may lie anywhere."""
    if os.getuid() != 0:
        return ["unshare", "--user", "--map-user=12345"]
    folder.chmod(0o777)
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *may_read]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["version"], 0),
        (["config"], 0),
        (["migrate"], 0),
        (["migrate", "--database-url", "postgresql://127.0.0.1:1/postgres"], 2),
        (["purge", "--database-url", "postgresql:///postgres?host=127.0.0.1"], 2),
        ([*SERVE, "--database-url", "postgresql://127.0.0.1:1/postgres"], 2),
    ],
)
def test_user_without_a_name_and_a_home_is_served_or_told(
    tmp_path: Path, command: list[str], code: int
) -> None:
    environment = clean_environment()
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "PGUSER"):
        environment.pop(name, None)
    done = subprocess.run(
        [*as_nobody_known(tmp_path), sys.executable, "-m", "dashkeeper", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert re.fullmatch(ONE_LINE if code else "", done.stderr)
    assert ("names no user" in done.stderr) is bool(code)


def test_folder_that_was_deleted_is_told_in_one_line(tmp_path: Path) -> None:
    for command in (["migrate"], ["purge"], SERVE):
        gone = tmp_path / "gone"
        gone.mkdir()
        script = 'rmdir ../gone && "$0" "$@"'
        done = subprocess.run(
            ["bash", "-c", script, str(BIN / "dashkeeper"), *command],
            cwd=gone,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(ONE_LINE, done.stderr)
