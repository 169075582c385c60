"""The examples in the documents work as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from protobuf import DescFieldValueMessage

from dashkeeper.gen.registrations.v1.chart_pb import Chart, ChartType
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from dashkeeper.services.datasets import CHARTS, TRANSFORMATIONS, Kind
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ROOT = Path(__file__).parent.parent


def blocks(document: str, language: str) -> str:
    """Return a document's blocks of a language, one after another."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("documents")) as server:
        yield server.http


def run(command: list[str], script: str, base_url: str) -> str:
    """Run a script against the server, and return what it printed."""
    environment = {**os.environ, "TOKEN": make_token("demo")}
    done = subprocess.run(
        [*command, script.replace("http://127.0.0.1:8080", base_url)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers_of(document: str, base_url: str) -> list[str]:
    """Run a document's calls, and return what they answered, a line each, behind the method's name."""
    script = re.sub(
        r"^(?:call (\w+)|put) (?=['\"])",
        lambda match: f"echo; echo -n '{match[1] or 'put'} '; {match[0]}",
        blocks(document, "bash"),
        flags=re.MULTILINE,
    )
    script = script.replace("curl -sSG ", "echo -n 'GET '; curl -sSG ")
    return [line for line in run(["bash", "-euc"], script, base_url).splitlines() if line]


def outcomes(answers: list[str]) -> list[str]:
    """Return each answer's method with `ok`, or with the error's code."""
    codes = [re.search(r'"code": ?"(\w+)"', answer) for answer in answers]
    return [
        f"{answer.split()[0]} {code[1] if code else 'ok'}"
        for answer, code in zip(answers, codes, strict=True)
    ]


def table(document: str, first_column: str) -> list[list[str]]:
    """Return the rows of the document's table with this heading, the heading too."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.search(rf"^\| {first_column} \|[^\n]*\n\|--.*?\n\n", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[0].splitlines() if line]
    return [rows[0], *rows[2:]]


def test_readme_in_bash_creates_fills_reads_and_deletes(base_url: str) -> None:
    output = run(["bash", "-euc"], blocks("README.md", "bash"), base_url)
    assert output.count('"name":"Growth"') == 3
    assert '"content":"# Weekly goals"' in output
    dashboards, _, registrations = output.partition("{}")
    assert "Growth" in dashboards
    assert registrations.count('"title":"Orders"') == 2, "as written, and in the list"


def test_readme_in_python_creates_and_fills(base_url: str) -> None:
    output = run([sys.executable, "-c"], blocks("README.md", "python"), base_url)
    assert output.startswith("{'created': ['tile_")


def test_api_examples_answer_as_the_page_says(base_url: str) -> None:
    answers = answers_of("docs/api.md", base_url)
    assert outcomes(answers) == [
        "GET not_found",
        "Create ok",
        "Upsert ok",
        "Get ok",
        "List ok",
        "List ok",
        "Upsert ok",
        "Upsert failed_precondition",
        "Update ok",
        "Update ok",
        "Update aborted",
        "Update ok",
        "Update ok",
        "ListRevisions ok",
        "GetRevision ok",
        "Restore ok",
        "Delete ok",
        "List ok",
        "Undelete ok",
    ]
    assert all('"id":"orders"' in answer for answer in answers[4:6])
    assert answers[11].partition(" ")[2] == answers[12].partition(" ")[2], (
        "the same request id, the same answer"
    )


@pytest.fixture(scope="module")
def registration_answers(base_url: str) -> list[str]:
    """What the calls of the page on registrations answered."""
    return answers_of("docs/registrations.md", base_url)


def test_registration_examples_answer_as_the_page_says(registration_answers: list[str]) -> None:
    first_content = next(i for i, answer in enumerate(registration_answers) if answer.startswith("put "))
    answers = [*registration_answers[:first_content], registration_answers[-1]]
    assert outcomes(answers) == [
        "UpdateContent ok",
        "Get ok",
        "Update ok",
        "List ok",
        "List ok",
        "List ok",
        "Create ok",
        "List ok",
        "Create invalid_argument",
        "UpdateContent ok",
        "UpdateContent aborted",
        "ListContents ok",
        "GetContent ok",
        "RestoreContent ok",
        "Delete ok",
        "List ok",
        "Undelete ok",
        "UpdateContent invalid_argument",
    ]
    home, segment, builder, with_community = (
        [*re.findall(r'"title":"(Overview|For all)","scopes"', answers[index])] for index in (3, 4, 5, 7)
    )
    assert (home, segment, builder) == (["Overview"], ["Overview"], [])
    assert with_community == ["For all", "Overview"]


def test_registration_contents_are_read_back_as_they_were_sent(registration_answers: list[str]) -> None:
    sent = re.findall(r"^put '(.*?)'$", blocks("docs/registrations.md", "bash"), re.DOTALL | re.MULTILINE)
    written = [i for i, answer in enumerate(registration_answers) if answer.startswith("put ")]
    drawn: set[ChartType] = set()
    for text, index in zip(sent, written, strict=True):
        content = DashboardContent.from_json(text)
        answers = [registration_answers[index].removeprefix("put "), registration_answers[index + 1]]
        for answer in answers:
            found = DashboardContent.from_json(json.dumps(json.loads(answer)["contentWrapper"]["content"]))
            assert found.to_binary() == content.to_binary()
        drawn |= {
            chart.type for section in content.sections for card in section.cards for chart in card.charts
        }
    assert drawn == {*CHARTS}, "one for each type of chart"


def test_registration_content_by_rest_is_the_one_of_the_example_before(base_url: str) -> None:
    *_, example = re.findall(
        r"^put '(.*?)'$", blocks("docs/registrations.md", "bash"), re.DOTALL | re.MULTILINE
    )
    headers = {"authorization": f"Bearer {make_token('demo')}", "x-project-id": "demo"}
    body: dict[str, object] = {"title": "Orders", "scopes": [], "segment_ids": [], "builder_ids": []}
    body |= {"organisation_id": "rest", "community_id": "rest"}
    content = json.loads(blocks("docs/registrations.md", "json"))
    with httpx.Client(base_url=base_url, headers=headers) as client:
        registration_id = client.post("/v1/dashboards", json=body).json()["data"]["id"]
        assert client.put(f"/v1/dashboards/{registration_id}/content", json=content).status_code == 200
        read = client.post("/registrations.v1.RegistrationsService/GetContent", json={"id": registration_id})
    found = DashboardContent.from_json(json.dumps(read.json()["contentWrapper"]["content"]))
    assert found.to_binary() == DashboardContent.from_json(example).to_binary()


def test_registration_content_is_refused_as_the_page_says(registration_answers: list[str]) -> None:
    error = json.loads(registration_answers[-1].removeprefix("UpdateContent "))
    (bad_request,) = (it["debug"] for it in error["details"] if it["type"] == "google.rpc.BadRequest")
    text = "".join(f"{it['field']}\n    {it['description']}\n" for it in bad_request["fieldViolations"])
    assert text == blocks("docs/registrations.md", "text")


def test_registration_tables_of_kinds_are_those_of_the_code() -> None:
    names = {Kind.NUMBER: "number"}

    def in_words(kinds: Collection[Kind]) -> str:
        return ", ".join(names.get(kind, str(kind)) for kind in Kind if kind in kinds)

    shown = [["chart", "shows"]]
    shown += [[chart.name.capitalize(), in_words(kinds)] for chart, (_, kinds) in CHARTS.items()]
    assert table("docs/registrations.md", "chart") == shown
    taken = [
        [
            re.sub(r"_(\w)", lambda match: match[1].upper(), name),
            str(it.least) if it.most is not None else f"{it.least} or more",
            in_words(it.takes),
            "what it takes" if it.gives is None else in_words({it.gives}),
        ]
        for name, it in TRANSFORMATIONS.items()
    ]
    rows = table("docs/registrations.md", "transformation")[1:]
    assert [row[:4] for row in rows] == taken


def test_registration_table_of_options_has_each_option_of_each_chart() -> None:
    heading, *rows = table("docs/registrations.md", "option")
    options = {
        field.name.removesuffix("_options").capitalize(): {it.json_name for it in field.value.message.fields}
        for field in Chart.desc().oneofs[0].fields
        if isinstance(field.value, DescFieldValueMessage)
    }
    documented = {
        chart: {row[0] for row in rows if row[column]} for column, chart in enumerate(heading) if column
    }
    assert documented == options


def test_rest_document_creates_fills_changes_and_deletes(base_url: str) -> None:
    output = run(["bash", "-euc"], blocks("docs/rest.md", "bash"), base_url)
    assert '"status":"error"' not in output
    assert output.count('"query_id":"701"') == 2
    assert '"count":1,"total":1,"first_result":0,"max_results":10' in output
    assert '"title":"Audience overview"' in output
    assert output.endswith('{"status":"ok","data":{}}{"status":"ok","data":{}}')
