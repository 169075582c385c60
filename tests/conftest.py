"""Fixtures: a running server for all tests of a worker, and a project of its own for each test."""

from __future__ import annotations

import gc
import os
import uuid
from typing import TYPE_CHECKING

import pytest

from dashkeeper.config import PREFIX
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from tests.api import TRANSPORTS, Api
from tests.database import DATABASES, server_on
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.server import RunningServer

pytest_plugins = ["tests.stores", "tests.cluster"]


def pytest_sessionstart() -> None:
    """Look for no garbage while tests are collected: there is none, and looking takes a third of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among what was collected."""
    gc.freeze()
    gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for `server`, `api` or `one_api` on each database, unless it names some itself."""
    if any("database" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")):
        return
    if "api_transport" in metafunc.fixturenames:
        # What a transport does doesn't depend on the database: on PostgreSQL, one is enough.
        places = [("sqlite", transport) for transport in TRANSPORTS]
        metafunc.parametrize(("database", "api_transport"), [*places, ("postgresql", "grpc")])
    elif "database" in metafunc.fixturenames:
        metafunc.parametrize("database", DATABASES)


@pytest.fixture
def server(database: str, request: pytest.FixtureRequest) -> RunningServer:
    """A server with default settings, on each database in turn, shared: keep to your own project."""
    return request.getfixturevalue(f"{database}_server")


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The same on SQLite alone, for rules that the database has no part in."""
    with server_on("sqlite", tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """What `server` is on PostgreSQL."""
    with server_on("postgresql", tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server for attacks: what harms it must not fail other tests."""
    with running_server(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest.fixture
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and an environment without any setting."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def project_id() -> str:
    """A project that no other test uses."""
    return f"p-{uuid.uuid4().hex}"


@pytest.fixture
def api(server: RunningServer, project_id: str, api_transport: str) -> Iterator[Api]:
    """The API over each transport in turn, in the test's own project."""
    client = Api(server, api_transport, make_token(project_id), project_id)
    yield client
    client.close()


@pytest.fixture
def one_api(server: RunningServer, project_id: str) -> Iterator[Api]:
    """The API over one transport, for rules that no protocol has a part in."""
    client = Api(server, "connect-json", make_token(project_id), project_id)
    yield client
    client.close()


@pytest.fixture
def registrations(server: RunningServer, project_id: str, api_transport: str) -> Iterator[Api]:
    """What `api` is, for RegistrationsService."""
    service = RegistrationsService.desc()
    client = Api(server, api_transport, make_token(project_id), project_id, service)
    yield client
    client.close()


@pytest.fixture
def one_registrations(server: RunningServer, project_id: str) -> Iterator[Api]:
    """What `one_api` is, for RegistrationsService."""
    service = RegistrationsService.desc()
    client = Api(server, "connect-json", make_token(project_id), project_id, service)
    yield client
    client.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_ALL=1, as in CI, fail what would be skipped."""
    report = yield
    if report.skipped and os.environ.get("REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped, but REQUIRE_ALL=1: {report.longrepr}"
    return report
