"""Tabs and line breaks in descriptions and change messages: kept, told in the history, one log line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.api import Api
from tests.registrations import done, register
from tests.rest import CONTENT, Rest
from tests.server import make_token
from tests.tiles import Json, markdown

if TYPE_CHECKING:
    from tests.server import RunningServer

TEXT = "Why:\n\t- one\r\n\t- two\u2028three\n"

WRITES: list[tuple[str, Json]] = [
    ("Create", {"name": "A", "dashboardId": "a", "description": TEXT}),
    ("Upsert", {"dashboardId": "a", "tiles": [markdown("a")]}),
    ("Update", {"id": "a", "description": f"{TEXT}{TEXT}"}),
    ("Delete", {"id": "a"}),
    ("Undelete", {"id": "a"}),
    ("Restore", {"id": "a", "revision": "2"}),
]


def test_description_and_messages_of_several_lines_are_kept_as_sent(api: Api) -> None:
    for method, request in WRITES:
        reply = api.call(method, {**request, "changeMessage": TEXT})
        assert reply.code == "ok", reply
    assert api.call("Get", {"id": "a"}).dashboard["description"] == TEXT
    found = api.call("ListRevisions", {"id": "a"}).body["revisions"]
    assert [it["changeMessage"] for it in found] == [TEXT] * len(WRITES)


def test_message_of_several_lines_is_kept_with_a_content(registrations: Api) -> None:
    made = register(registrations, changeMessage=TEXT)
    done(registrations, "Update", id=made["id"], title="B", changeMessage=TEXT)
    for content in ({}, {"sections": [{"title": "A"}]}):
        done(registrations, "UpdateContent", id=made["id"], content=content, changeMessage=TEXT)
    (_, first) = done(registrations, "ListContents", id=made["id"]).body["contentWrappers"]
    done(registrations, "RestoreContent", id=made["id"], contentId=first["id"], changeMessage=TEXT)
    for method in ("Delete", "Undelete"):
        done(registrations, method, id=made["id"], changeMessage=TEXT)
    found = done(registrations, "ListContents", id=made["id"]).body["contentWrappers"]
    assert [it["changeMessage"] for it in found] == [TEXT] * 3


def test_message_of_several_lines_is_taken_by_rest(sqlite_server: RunningServer, project_id: str) -> None:
    rest = Rest(sqlite_server, project_id)
    path = f"/dashboards/{rest.create()['id']}/content"
    answer = rest.call("PUT", path, CONTENT, x_change_message=quote(TEXT))
    assert answer.status_code == 200, answer.text
    answer = rest.call("PUT", path, CONTENT, x_change_message="a%00b")
    assert [it["field"] for it in answer.json()["violations"]] == ["X-Change-Message"]
    rest.close()


def test_message_of_several_lines_is_one_line_of_the_json_log(
    sqlite_server: RunningServer, project_id: str
) -> None:
    api = Api(sqlite_server, "connect-json", make_token(project_id), project_id)
    api.call("Create", {"name": "A", "changeMessage": TEXT})
    api.close()
    lines = sqlite_server.logged_calls(1, project=project_id)
    assert [line["change_message"] for line in lines] == [TEXT]


@pytest.mark.parametrize("text", [TEXT, "a\nb", "a\rb", "a\x85b", "a\u2028b", "a\x1b[2Jb"])
def test_what_would_break_a_line_of_the_text_log_is_written_as_json(text: str) -> None:
    program = (
        "import logging, sys; from dashkeeper.logs import configure_logging\n"
        "configure_logging('info', 'text')\n"
        "logging.getLogger('x').info('done', extra={'change_message': sys.argv[1], 'code': 'ok é'})"
    )
    result = subprocess.run([sys.executable, "-c", program, text], capture_output=True, check=True)
    logged = result.stderr.decode()
    assert logged.endswith(" code=ok é\n")
    assert logged.splitlines() == [logged[:-1]]
    assert logged[:-1].isprintable()
    assert 'change_message="' in logged
