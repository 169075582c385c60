"""The examples in the documents work as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_readme_in_bash_creates_fills_reads_and_deletes(base_url: str) -> None:
    output = run(["bash", "-euc"], blocks("README.md", "bash"), base_url)
    assert output.count('"name":"Growth"') == 3
    assert '"content":"# Weekly goals"' in output
    assert output.endswith("{}")


def test_readme_in_python_creates_and_fills(base_url: str) -> None:
    output = run([sys.executable, "-c"], blocks("README.md", "python"), base_url)
    assert output.startswith("{'created': ['tile_")


def test_api_examples_answer_as_the_page_says(base_url: str) -> None:
    script = re.sub(
        r"^call (\w+) ", r"echo; echo -n '\1 '; call \1 ", blocks("docs/api.md", "bash"), flags=re.MULTILINE
    )
    script = script.replace("curl -sSG ", "echo -n 'GET '; curl -sSG ")
    answers = [line for line in run(["bash", "-euc"], script, base_url).splitlines() if line]
    codes = [re.search(r'"code": ?"(\w+)"', answer) for answer in answers]
    found = [
        f"{answer.split()[0]} {code[1] if code else 'ok'}"
        for answer, code in zip(answers, codes, strict=True)
    ]
    assert found == [
        "GET not_found",
        "Create ok",
        "Upsert ok",
        "Get ok",
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
    assert answers[10].partition(" ")[2] == answers[11].partition(" ")[2], (
        "the same request id, the same answer"
    )


def test_rest_document_creates_fills_changes_and_deletes(base_url: str) -> None:
    output = run(["bash", "-euc"], blocks("docs/rest.md", "bash"), base_url)
    assert '"status":"error"' not in output
    assert output.count('"query_id":"701"') == 2
    assert '"count":1,"total":1,"first_result":0,"max_results":10' in output
    assert '"title":"Audience overview"' in output
    assert output.endswith('{"status":"ok","data":{}}{"status":"ok","data":{}}')
