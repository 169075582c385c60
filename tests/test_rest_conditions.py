"""Conditional requests of the REST form (RFC 9110 §13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.datastructures import Headers

from dashkeeper.errors import InvalidRequestError
from dashkeeper.transport.rest.headers import Tags, change_message, tags
from tests.rest import CONTENT, Rest, registration, violated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer


@pytest.fixture
def rest(sqlite_server: RunningServer, project_id: str) -> Iterator[Rest]:
    client = Rest(sqlite_server, project_id)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["*"], Tags(any=True)),
        ([' "a" '], Tags(any=False, strong=("a",))),
        (['"a", W/"b" ,"c,d"'], Tags(any=False, strong=("a", "c,d"), weak=("b",))),
        (['"a"', '"b"'], Tags(any=False, strong=("a", "b"))),
        (['"a",, "b"'], Tags(any=False, strong=("a", "b"))),
        (['""'], Tags(any=False, strong=("",))),
    ],
)
def test_entity_tags_are_read(values: list[str], expected: Tags) -> None:
    headers = Headers(raw=[(b"if-match", value.encode()) for value in values])
    assert tags(headers, "If-Match") == expected


@pytest.mark.parametrize(
    "text", ["", "a", '"a', 'a"', '"a" "b"', '"a"b', 'w/"a"', '*, "a"', '"a", *', ",", '"\t"', '"a";']
)
def test_malformed_entity_tags_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        tags(Headers({"if-match": text}), "If-Match")


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("a%20b c", "a b c"), ("%C3%A9+%E2%82%AC", "é+€")])
def test_a_change_message_is_percent_encoded(text: str, expected: str) -> None:
    assert change_message(Headers({"x-change-message": text})) == expected


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "%FF", "%C3", "é", "%ED%A0%80"])
def test_a_malformed_change_message_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        change_message(Headers(raw=[(b"x-change-message", text.encode())]))


def test_malformed_headers_are_refused_by_their_names(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}"
    assert violated(rest.call("GET", path, if_match="a")) == ["If-Match"]
    assert violated(rest.call("GET", path, if_none_match="a")) == ["If-None-Match"]
    assert violated(rest.call("DELETE", path, if_match="a")) == ["If-Match"]
    assert violated(rest.call("PUT", path, registration(), if_match="a")) == ["If-Match"]
    assert violated(rest.call("PUT", f"{path}/content", {}, if_none_match='"a"')) == ["If-None-Match"]
    assert violated(rest.call("PUT", path, registration(), if_none_match="*")) == ["If-None-Match"]
    assert violated(rest.call("DELETE", path, if_none_match='"a"')) == ["If-None-Match"]
    assert violated(rest.call("DELETE", path, x_change_message="%")) == ["X-Change-Message"]
    assert violated(rest.call("DELETE", path, x_change_message="a" * 501)) == ["X-Change-Message"]


def test_get_is_answered_if_the_condition_holds(rest: Rest) -> None:
    made = rest.create()
    path, etag = f"/dashboards/{made['id']}", made["etag"]
    rest.call("PUT", f"{path}/content", CONTENT)
    content_id = rest.call("GET", path).json()["data"]["dashboard_content_id"]
    etag = rest.call("GET", path).json()["data"]["etag"]
    for where, tag in ((path, etag), (f"{path}/content", content_id)):
        for value in (f'"{tag}"', f'W/"{tag}"', f'"a", "{tag}"', "*"):
            answer = rest.call("GET", where, if_none_match=value)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == f'"{tag}"'
            assert "x-request-id" in answer.headers
        assert rest.call("GET", where, if_none_match='"a"').status_code == 200
        assert rest.call("HEAD", where, if_none_match=f'"{tag}"').status_code == 304
        assert rest.call("GET", where, if_match=f'"a", "{tag}"').status_code == 200
        assert rest.call("GET", where, if_match="*").status_code == 200
        assert rest.call("GET", where, if_match=f'W/"{tag}"').status_code == 412


@pytest.mark.parametrize(
    ("template", "status"),
    [
        ('"{}"', 200),
        ('"a", "{}"', 200),
        ('W/"{}", "{}"', 200),
        ("*", 200),
        ('"a"', 412),
        ('"a", "b"', 412),
        ('W/"{}"', 412),
        ('W/"{}", "a"', 412),
        ('""', 412),
        ('"{}x"', 412),
        ('"' + "a" * 200 + '"', 412),
        ('"é"', 412),
    ],
)
def test_a_write_is_made_if_the_condition_holds(rest: Rest, template: str, status: int) -> None:
    def condition(etag: str) -> str:
        return template.replace("{}", etag)

    path = f"/dashboards/{rest.create()['id']}"
    first = rest.call("PUT", f"{path}/content", CONTENT).json()["data"]
    answer = rest.call("PUT", f"{path}/content", {}, if_match=condition(first["id"]))
    assert answer.status_code == status, answer.text
    for method, body in (("PUT", registration(title="New")), ("DELETE", None)):
        etag = rest.call("GET", path).json()["data"]["etag"]
        answer = rest.call(method, path, body, if_match=condition(etag))
        assert answer.status_code == status, answer.text
        if status == 412:
            assert answer.json()["error_code"] == "ABORTED"
            assert answer.json()["metadata"]["current_etag"] == etag
            assert rest.call("GET", path).json()["data"]["etag"] == etag


def test_whatever_else_refuses_a_write_is_told_before_a_condition_that_nothing_meets(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}"
    etag = rest.call("GET", path).json()["data"]["etag"]
    for tag in ('W/"a"', '""', "*"):
        answer = rest.call("PUT", f"{path}/content", {"available_filters": [{}] * 2}, if_match=tag)
        assert answer.status_code == 400, answer.text
        assert rest.call("PUT", f"{path}/content", CONTENT, if_match=tag).status_code == 412
    for tag in ('W/"a"', '""'):
        assert violated(rest.call("PUT", path, registration(title=""), if_match=tag)) == ["title"]
        assert rest.call("DELETE", path, if_match=tag, x_change_message="a" * 501).status_code == 400
        assert rest.call("DELETE", path, if_match=tag).status_code == 412
    assert rest.call("GET", path).json()["data"]["etag"] == etag


def test_a_condition_on_what_is_not_there(rest: Rest) -> None:
    assert rest.call("PUT", "/dashboards/x", registration(), if_match="*").status_code == 404
    assert rest.call("DELETE", "/dashboards/x", if_match='"a"').status_code == 404
    path = f"/dashboards/{rest.create()['id']}/content"
    assert rest.call("PUT", path, CONTENT, if_match="*").status_code == 412
    assert rest.call("PUT", path, CONTENT, if_match='"a"').status_code == 412
    assert rest.call("PUT", path, CONTENT, if_match='""').status_code == 412
    assert rest.call("PUT", path, CONTENT, if_none_match="*").status_code == 200
    second = rest.call("PUT", path, CONTENT, if_none_match="*")
    assert (second.status_code, second.json()["error_code"]) == (412, "ALREADY_EXISTS")


def test_several_tags_beside_an_idempotency_key_are_refused(rest: Rest) -> None:
    made = rest.create()
    key = "8e03978e-40d5-43dd-bc93-6894a57f9324"
    answer = rest.call(
        "DELETE", f"/dashboards/{made['id']}", if_match=f'"a", "{made["etag"]}"', idempotency_key=key
    )
    assert violated(answer) == ["If-Match"]
