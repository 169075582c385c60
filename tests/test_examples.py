"""The examples, run as their README says, with the clients as their users have them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from tests.api import Api
from tests.python_client import PYTHON, ROOT
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer

EXAMPLES = ROOT / "examples"
PATH = os.pathsep.join([str(PYTHON.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
PROGRAMS = {"python": ("python", "py"), "typescript": ("node", "ts")}
VARIABLES = {"SERVICE": "checkout", "VERSION": "2.4", "HEIGHT": "4"}


class Environment(NamedTuple):
    """Where a program finds servers: the one it works on, and the one it copies to."""

    language: str
    variables: dict[str, str]
    server: RunningServer
    here: Api
    there: Api
    registrations_here: Api
    registrations_there: Api

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command line in the root of the repository."""
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=ROOT,
            env={**self.variables, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
        """Run an example; return its exit code and what it wrote to each output."""
        with self.start(f"exec {self.command(name, *arguments)}", **variables) as process:
            output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def command(self, name: str, *arguments: str | Path) -> str:
        """Return the command line of an example."""
        program, suffix = PROGRAMS[self.language]
        file = f"examples/{self.language}/{name}.{suffix}"
        return shlex.join([program, file, *map(str, arguments)])


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("other")) as running:
        yield running


@pytest.fixture(params=PROGRAMS)
def environment(
    request: pytest.FixtureRequest,
    sqlite_server: RunningServer,
    other_server: RunningServer,
    project_id: str,
) -> Iterator[Environment]:
    if not (PYTHON.exists() and (EXAMPLES / "typescript/node_modules/.installed").exists()):
        pytest.skip("the clients are not installed for the examples: run `make examples`")
    language: str = request.param
    variables = {"PATH": PATH}
    # Each environment has its own project, and a token that is good for nothing else.
    places = {"FROM_": (sqlite_server, project_id), "TO_": (other_server, f"{project_id}-to")}
    places[""] = places["FROM_"]
    for prefix, (server, project) in places.items():
        variables |= {
            f"{prefix}SERVER": server_address(language, server),
            f"{prefix}PROJECT": project,
            f"{prefix}TOKEN": make_token(project, subject="anna"),
        }
    with contextlib.ExitStack() as stack:
        apis = [
            stack.enter_context(
                contextlib.closing(
                    Api(server, "connect-json", make_token(project, subject="ben"), project, service.desc())
                )
            )
            for service in (DashboardsService, RegistrationsService)
            for server, project in (places["FROM_"], places["TO_"])
        ]
        yield Environment(language, variables, sqlite_server, *apis)


def server_address(language: str, server: RunningServer) -> str:
    """Return what an example takes as SERVER."""
    return server.grpc if language == "python" else server.http


def dashboards(api: Api) -> dict[str, dict[str, Any]]:
    """Return every dashboard of a project, by its id, whole."""
    listed = api.call("List", {}).body.get("dashboards", [])
    return {found["id"]: api.call("Get", {"id": found["id"]}).body["dashboard"] for found in listed}


def written(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Return what somebody wrote of a dashboard, without what the server says of it."""
    return {name: dashboard.get(name) for name in ("name", "description", "labels", "tiles")}


def test_readme_commands_print_what_it_says(environment: Environment) -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    folder = f"examples/{environment.language}/"
    commands = [line for line in "".join(lines).splitlines() if folder in line]
    named = {command.partition(folder)[2].split()[0] for command in commands}
    assert named == {path.name for path in (ROOT / folder).glob(f"*.{PROGRAMS[environment.language][1]}")}
    ids = {
        "FROM_ID": register(environment.registrations_here, with_content=True),
        "TO_ID": register(environment.registrations_there, with_content=False),
    }
    with environment.start("set -e\n" + "\n".join(commands), **ids) as process:
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    copied = f"{ids['TO_ID']} shows it now, as content_"
    output = re.sub(rf"^{copied}\w+\n", "", output, flags=re.MULTILINE)
    assert output == "".join(re.findall(r"^```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


def test_provision_run_again_in_any_language_changes_nothing(environment: Environment) -> None:
    assert environment.run("provision", "examples/dashboards")[0] == 0
    once = dashboards(environment.here)
    assert set(once) == {path.stem for path in (EXAMPLES / "dashboards").iterdir()}
    for language in PROGRAMS:
        again = environment._replace(language=language)
        address = server_address(language, environment.server)
        code, output, _ = again.run("provision", "examples/dashboards", SERVER=address)
        assert (code, output) == (0, "growth: revision 2, as it was\nrevenue: revision 2, as it was\n")
    assert dashboards(environment.here) == once
    records = environment.server.logged_calls(8, subject="anna", project=environment.variables["PROJECT"])
    called = [str(record["method"]).rpartition("/")[2] for record in records]
    assert called == ["Upsert", "Update"] * 2 + ["Upsert"] * 4


def test_command_lines_without_what_they_need_fail(environment: Environment) -> None:
    for name in ("provision", "template", "copy_dashboard", "copy_content", "editor"):
        code, output, errors = environment.run(name)
        assert (code > 0, output) == (True, "")
        assert errors
        assert "Traceback" not in errors
        assert "    at " not in errors


def test_provision_puts_back_what_differs_and_nothing_else(environment: Environment) -> None:
    assert environment.run("provision", "examples/dashboards")[0] == 0
    once = dashboards(environment.here)
    assert environment.here.call("Update", {"id": "growth", "name": "Ours"}).code == "ok"
    tiles = once["growth"]["tiles"][1:]
    assert environment.here.call("Upsert", {"dashboardId": "growth", "tiles": tiles}).code == "ok"
    code, output, _ = environment.run("provision", "examples/dashboards")
    assert (code, output) == (0, "growth: revision 6, tile goals, name\nrevenue: revision 2, as it was\n")
    again = dashboards(environment.here)
    assert written(again["growth"]) == written(once["growth"])
    assert again["revenue"] == once["revenue"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ('{"id": "b", "name": "B", "tilse": []}', "tilse"),
        ('{"id": "b", "name": "B"', ""),
        ('{"id": "b"}', "name is required"),
    ],
)
def test_provision_names_the_file_that_is_wrong(
    environment: Environment, tmp_path: Path, wrong: str, reason: str
) -> None:
    (tmp_path / "b.json").write_text(wrong, encoding="utf-8")
    code, output, errors = environment.run("provision", tmp_path)
    assert (code, output) == (1, "")
    assert errors.startswith(f"{tmp_path / 'b.json'}: ")
    assert reason in errors
    assert dashboards(environment.here) == {}


def test_template_fills_in_variables_as_they_are(environment: Environment) -> None:
    variables = {**VARIABLES, "VERSION": '2.4 "beta" ${HEIGHT} \\ é'}
    code, output, _ = environment.run("template", "examples/templates/service.json", **variables)
    assert (code, output) == (0, "service-checkout: revision 1\n")
    about, calls = dashboards(environment.here)["service-checkout"]["tiles"]
    assert about["markdown"]["content"] == f"# checkout\n\nVersion {variables['VERSION']} is out."
    assert calls["position"]["h"] == 4
    assert calls["insight"]["query"]["breakdown"] == {"property": "$geo.country"}


def test_templates_of_which_one_is_wrong_write_nothing(environment: Environment, tmp_path: Path) -> None:
    right = "examples/templates/service.json"
    wrong = tmp_path / "wrong.json"
    request = '{"dashboardId": "wide", "name": "W", "allowMissing": true, "tiles": [%s]}'
    tile = '{"type": "TILE_TYPE_MARKDOWN", "position": {"x": 8, "w": 6, "h": 0}, "markdown": {}}'
    wrong.write_text(request % tile, encoding="utf-8")
    missing = tmp_path / "missing.json"
    missing.write_text(request % '"${NO_SUCH_VARIABLE}"', encoding="utf-8")
    code, output, errors = environment.run("template", right, wrong, missing, **VARIABLES)
    assert (code, output) == (1, "")
    assert errors.splitlines() == [
        f"{wrong}: tiles[0].position: x + w must be at most 12: the grid has 12 columns",
        f"{wrong}: tiles[0].position.h: must be greater than or equal to 1 and less than or equal to 1000",
        f"{missing}: the variable NO_SUCH_VARIABLE is not set",
        "nothing was written",
    ]
    assert dashboards(environment.here) == {}


def test_template_check_writes_nothing(environment: Environment) -> None:
    command = ("template", "examples/templates/service.json", "--check")
    assert environment.run(*command, **VARIABLES) == (0, "", "")
    assert dashboards(environment.here) == {}


def test_copy_shows_first_and_deletes_no_more_than_allowed(environment: Environment) -> None:
    assert environment.run("provision", "examples/dashboards")[0] == 0
    tile = {"id": "old", "type": "TILE_TYPE_MARKDOWN", "position": {"w": 1, "h": 1}, "markdown": {}}
    request = {"name": "Theirs", "dashboardId": "growth", "labels": {"old": "yes"}, "tiles": [tile]}
    assert environment.there.call("Create", request).code == "ok"
    before = dashboards(environment.there)

    shown = "created: goals, signups, activation\ndeleted: old\nset: name, description, labels\n"
    assert environment.run("copy_dashboard", "growth") == (0, shown, "")
    code, output, errors = environment.run("copy_dashboard", "growth", "--write")
    assert (code, output) == (1, shown)
    assert "1 tile would be deleted, max_deletions allows 0" in errors
    assert dashboards(environment.there) == before

    allowed = environment.run("copy_dashboard", "growth", "--write", "--max-deletions", "1")
    assert allowed == (0, f"{shown}written: growth is at revision 3\n", "")
    original = dashboards(environment.here)["growth"]
    assert written(dashboards(environment.there)["growth"]) == written(original)


def test_copy_of_what_is_not_there_fails(environment: Environment) -> None:
    code, output, errors = environment.run("copy_dashboard", "growth", "--write")
    assert (code, output) == (1, "")
    assert 'there is no dashboard "growth"' in errors
    assert dashboards(environment.there) == {}


def register(api: Api, *, with_content: bool) -> str:
    """Register a dashboard, and return its id."""
    request = {"title": "Sales", "organisationId": "shop", "communityId": "shop"}
    registration = api.call("Create", request).body["registration"]["id"]
    if with_content:
        dataset = {"otql": {"queryText": "SELECT @count{} FROM Order"}}
        chart = {"title": "Orders", "type": "CHART_TYPE_METRIC", "dataset": dataset}
        content = {"sections": [{"cards": [{"w": 3, "h": 2, "charts": [chart]}]}]}
        assert api.call("UpdateContent", {"id": registration, "content": content}).code == "ok"
    return registration


def contents(api: Api, registration: str) -> list[Any]:
    return api.call("ListContents", {"id": registration}).body.get("contentWrappers", [])


def test_copy_of_content_is_written_where_told_and_once(environment: Environment) -> None:
    here, there = environment.registrations_here, environment.registrations_there
    from_id, to_id = register(here, with_content=True), register(there, with_content=False)
    assert environment.run("copy_content", from_id, to_id) == (0, f"{to_id} would be given it\n", "")
    assert contents(there, to_id) == []
    assert environment.run("copy_content", from_id, to_id, "--write")[0] == 0
    original, copied = (
        api.call("GetContent", {"id": i}).body for api, i in ((here, from_id), (there, to_id))
    )
    assert copied["contentWrapper"]["content"] == original["contentWrapper"]["content"]
    again = environment.run("copy_content", from_id, to_id, "--write")
    assert again == (0, f"{to_id} shows it already\n", "")
    assert here.call("UpdateContent", {"id": from_id, "content": {}}).code == "ok"
    assert environment.run("copy_content", from_id, to_id, "--write")[0] == 0
    assert len(contents(there, to_id)) == 2


def edit_while_another_writes(environment: Environment, tiles: list[dict[str, Any]]) -> tuple[int, str, str]:
    """Let the other one write these tiles after the editor has read, and before it writes."""
    with environment.start(f"exec {environment.command('editor', 'growth', 'signups')}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'The title is "Sign-ups a day". The new title:\n'
        assert environment.here.call("Upsert", {"dashboardId": "growth", "tiles": tiles}).code == "ok"
        output, errors = process.communicate("New accounts\n", timeout=60)
    return process.returncode, output, errors


def test_editor_keeps_the_change_of_another_writer_and_its_own(environment: Environment) -> None:
    assert environment.run("provision", "examples/dashboards")[0] == 0
    tiles = dashboards(environment.here)["growth"]["tiles"]
    tiles[0]["title"] = "Their title"
    done = edit_while_another_writes(environment, tiles[:2])
    again = "ben changed the dashboard meanwhile: trying again\n"
    assert done == (0, f'{again}The title is "New accounts" as of revision 4.\n', "")
    after = dashboards(environment.here)["growth"]
    assert [tile["title"] for tile in after["tiles"]] == ["Their title", "New accounts"]


def test_editor_overwrites_no_title_that_it_did_not_show(environment: Environment) -> None:
    assert environment.run("provision", "examples/dashboards")[0] == 0
    tiles = dashboards(environment.here)["growth"]["tiles"]
    tiles[1]["title"] = "Theirs"
    code, _, errors = edit_while_another_writes(environment, tiles)
    assert (code, errors) == (1, 'ben made the title "Theirs" meanwhile: nothing was written\n')
    after = dashboards(environment.here)["growth"]
    assert (after["revision"], after["tiles"]) == ("3", tiles)


def test_editor_of_a_tile_that_is_gone_writes_nothing(environment: Environment) -> None:
    assert environment.run("provision", "examples/dashboards")[0] == 0
    code, _, errors = edit_while_another_writes(environment, [])
    assert (code, errors) == (1, "growth has no tile signups at revision 3\n")
    assert dashboards(environment.here)["growth"]["revision"] == "3"
