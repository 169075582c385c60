"""`serve --dev`: in an empty folder, one command to a server with samples and calls to paste."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

BIN = Path(sys.executable).parent
STARTUP_SECONDS = 30


def clean_environment() -> dict[str, str]:
    """Return an environment without settings, that finds the tools of this project first."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("DASHKEEPER_")}
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}"}


@dataclass
class DevServer:
    """A started server in development mode, and what it printed."""

    folder: Path
    greeting: str

    @property
    def lines(self) -> list[str]:
        """The greeting's lines, those that go on behind a backslash joined."""
        return self.greeting.replace("\\\n", " ").splitlines()

    @property
    def commands(self) -> list[str]:
        """The calls to paste."""
        return [line for line in self.lines if re.match(r"('.*/|\S*/)?(curl|buf|grpcurl)'? ", line)]

    @property
    def export(self) -> str:
        (line,) = (line for line in self.lines if line.startswith("export TOKEN="))
        return line

    def paste(self, command: str) -> Any:
        """Paste a command into another terminal, after the export; return the JSON it prints."""
        script = f"{self.export}\n{command}\n"
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd="/",
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert run.returncode == 0, run
        return json.loads(run.stdout)

    def list_names(self, token: str) -> list[str]:
        """Return the names of what project demo holds."""
        url = next(word for word in self.commands[0].split() if word.startswith("http://"))
        headers = {"authorization": f"Bearer {token}", "x-project-id": "demo"}
        answer = httpx.post(url, json={}, headers=headers)
        assert answer.status_code == 200, answer.text
        return sorted(dashboard["name"] for dashboard in answer.json().get("dashboards", []))

    @property
    def token(self) -> str:
        return self.export.removeprefix("export TOKEN=")


@contextlib.contextmanager
def dev_server(folder: Path) -> Generator[DevServer]:
    """Run `dashkeeper serve --dev` there, on free ports."""
    printed, log = folder / "printed", folder / "log"
    command = [str(BIN / "dashkeeper"), "serve", "--dev"]
    command += ["--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0"]
    with printed.open("wb") as output, log.open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(), stdout=output, stderr=errors, umask=0
        )
    try:
        give_up = time.monotonic() + STARTUP_SECONDS
        while not printed.read_text().endswith("/Create\n"):  # of the last command
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, printed.read_text()
            time.sleep(0.02)  # between two looks
        yield DevServer(folder, printed.read_text())
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # Ctrl+C
            assert process.wait(timeout=40) == 0


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server that was started in an empty folder."""
    with dev_server(tmp_path_factory.mktemp("dev")) as server:
        yield server


def need(tool: str) -> None:
    """Skip the test where a tool is missing; fail instead with REQUIRE_ALL=1."""
    if shutil.which(tool, path=clean_environment()["PATH"]) is None:
        message = f"{tool} is not on the PATH: install the development dependencies"
        assert os.environ.get("REQUIRE_ALL") != "1", message
        pytest.skip(message)


def test_dev_secret_is_made_for_its_owner_alone(dev: DevServer) -> None:
    secret = dev.folder / ".dashkeeper-dev-secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_text().strip()) >= 32
    assert secret.read_text().strip() not in dev.greeting + (dev.folder / "log").read_text()


def test_dev_greeting_holds_a_call_for_each_protocol(dev: DevServer) -> None:
    programs = [Path(command.split()[0]).name for command in dev.commands]
    assert programs == ["curl", "curl", "curl", "curl", "buf", "buf", "grpcurl"]
    assert dev.token not in (dev.folder / "log").read_text()


def test_dev_greeting_curl_commands_work_as_printed(dev: DevServer) -> None:
    need("curl")
    listing, getting, home, by_rest = (command for command in dev.commands if command.startswith("curl "))
    names = [dashboard["name"] for dashboard in dev.paste(listing)["dashboards"]]
    assert {"Growth KPIs", "Revenue"} <= {*names}
    dashboard = dev.paste(getting)["dashboard"]
    assert dashboard["id"] == "growth-kpis"
    assert dashboard["tiles"]
    shown = dev.paste(home)
    assert [registration["title"] for registration in shown["registrations"]] == ["Audience"]
    charts = [
        chart["type"]
        for section in shown["contentWrappers"][0]["content"]["sections"]
        for card in section["cards"]
        for chart in card["charts"]
    ]
    assert [registration["title"] for registration in dev.paste(by_rest)["data"]] == ["Audience"]
    assert charts == ["CHART_TYPE_METRIC", "CHART_TYPE_AREA", "CHART_TYPE_PIE"]


def test_dev_greeting_buf_command_works_as_printed(dev: DevServer) -> None:
    need("buf")
    commands = [command for command in dev.commands if "buf curl " in command]
    assert [len(dev.paste(command)["dashboards"]) >= 2 for command in commands] == [True, True]


def test_dev_greeting_grpcurl_command_works_as_printed(dev: DevServer) -> None:
    need("grpcurl")
    (command,) = (command for command in dev.commands if "grpcurl " in command)
    assert dev.paste(command)["dashboard"]["name"] == "My first"


def test_dev_token_command_signs_with_the_same_secret(dev: DevServer) -> None:
    command = [str(BIN / "dashkeeper"), "token", "--project", "demo"]
    run = subprocess.run(
        command, cwd=dev.folder, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert {"Growth KPIs", "Revenue"} <= {*dev.list_names(run.stdout.strip())}


def test_dev_started_again_keeps_secret_and_what_is_stored(tmp_path: Path) -> None:
    with dev_server(tmp_path) as first:
        secret = (tmp_path / ".dashkeeper-dev-secret").read_text()
        token = first.token
        assert first.list_names(token) == ["Growth KPIs", "Revenue"]
        url = next(word for word in first.commands[0].split() if word.startswith("http://"))
        headers = {"authorization": f"Bearer {token}", "x-project-id": "demo"}
        for dashboard_id in ("growth-kpis", "revenue"):
            answer = httpx.post(url.replace("/List", "/Delete"), json={"id": dashboard_id}, headers=headers)
            assert answer.status_code == 200
        home = first.paste(first.commands[2])
        (registration,) = home["registrations"]
        url = url.replace(
            "dashboards.v1.DashboardsService/List", "registrations.v1.RegistrationsService/Delete"
        )
        answer = httpx.post(url, json={"id": registration["id"]}, headers=headers)
        assert answer.status_code == 200
    with dev_server(tmp_path) as second:
        assert (tmp_path / ".dashkeeper-dev-secret").read_text() == secret
        # Not empty: what was deleted on purpose doesn't come back.
        assert second.list_names(token) == []
        assert second.paste(second.commands[2]) == {}
