"""The REST routes on a real server: what they answer, and that they are the RPCs' other form."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.rest import CONTENT, Rest, payload, registration, violated
from tests.server import make_token, running_server
from tests.test_rest_mapping import as_the_spec_compares

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server import RunningServer


@pytest.fixture
def rest(server: RunningServer, project_id: str) -> Iterator[Rest]:
    client = Rest(server, project_id)
    yield client
    client.close()


def test_a_registration_that_was_posted_is_there(rest: Rest) -> None:
    answer = rest.call("POST", "/dashboards", payload("create"))
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert answer.json() == {"status": "ok", "data": data}
    assert answer.headers["location"] == f"dashboards/{data['id']}"
    assert answer.headers["etag"] == f'"{data["etag"]}"'
    assert {key: data[key] for key in payload("create")} == payload("create")
    assert data["dashboard_content_id"] == ""
    assert data["created_by"] == data["last_modified_by"] == "tester"
    assert 1_700_000_000_000 < data["created_ts"] < 10_000_000_000_000
    read = rest.call("GET", f"/dashboards/{data['id']}?organisation_id=1185")
    assert read.status_code == 200
    assert read.json() == {"status": "ok", "data": data}
    assert read.headers["etag"] == answer.headers["etag"]
    assert read.headers["cache-control"] == "private, no-cache"
    assert "authorization" in read.headers["vary"]


def test_a_list_has_the_shape_of_the_example(rest: Rest) -> None:
    rest.create()
    answer = rest.call("GET", "/dashboards?organisation_id=1185")
    expected = payload("list-response")
    assert answer.status_code == 200
    assert list(answer.json()) == list(expected)
    assert {**answer.json(), "data": []} == {**expected, "data": []}
    (item,), (like,) = answer.json()["data"], expected["data"]
    assert {key: type(value) for key, value in item.items() if key != "etag"} == {
        key: type(value) for key, value in like.items()
    }


def test_a_list_is_filtered_and_cut_as_asked(rest: Rest) -> None:
    for title in ("b", "a", "C"):
        rest.create(title=title, archived=title == "C", scopes=["segments", "builders"], builder_ids=["7"])
    rest.create(title="other", organisation_id="2", community_id="1185", segment_ids=[], scopes=[])

    def titles(query: str) -> list[str]:
        answer = rest.call("GET", f"/dashboards?organisation_id=1185&{query}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["count"] == len(answer.json()["data"])
        return [one["title"] for one in answer.json()["data"]]

    assert titles("") == ["C", "a", "b"]
    assert titles("archived=false") == ["a", "b"]
    assert titles("archived=TRUE") == ["C"]
    assert titles("keywords=c") == ["C"]
    assert titles("scope=Segments&segment_id=4021") == ["C", "a", "b"]
    assert titles("scope=segments&segment_id=5") == []
    assert titles("scope=builders&builder_id=7") == ["C", "a", "b"]
    assert titles("scope=home") == []
    assert titles("first_result=1&max_results=1") == ["a"]
    assert titles("community_id=1185") == ["C", "a", "b"]
    page = rest.call("GET", "/dashboards?organisation_id=1185&first_result=2&max_results=1").json()
    assert {key: page[key] for key in ("count", "total", "first_result", "max_results")} == {
        "count": 1,
        "total": 3,
        "first_result": 2,
        "max_results": 1,
    }
    both = rest.call("GET", "/dashboards?organisation_id=2&include_community=true").json()
    assert [one["title"] for one in both["data"]] == ["C", "a", "b", "other"]


def test_a_page_that_is_too_large_for_one_answer_of_the_rpc_is_whole(rest: Rest) -> None:
    many = [f"{n:0128}" for n in range(1_000)]
    for n in range(20):  # a quarter of a megabyte each: the RPC cuts a page at 3.5
        rest.create(
            title=f"{n:02}",
            scopes=["segments", "builders"],
            segment_ids=many,
            builder_ids=many,
            archived=True,
        )
    answer = rest.call("GET", "/dashboards?organisation_id=1185&max_results=19&first_result=1").json()
    assert len(rest.rpc("List", {"organisationId": "1185"})["registrations"]) < 19
    assert [one["title"] for one in answer["data"]] == [f"{n:02}" for n in range(1, 20)]
    assert (answer["count"], answer["total"]) == (19, 20)


def test_put_replaces_what_can_be_written(rest: Rest) -> None:
    made = rest.create(archived=True)
    body = {"title": "New", "scopes": ["BUILDERS"], "segment_ids": [], "builder_ids": ["1"]}
    answer = rest.call("PUT", f"/dashboards/{made['id']}", body)
    data = answer.json()["data"]
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{data["etag"]}"' != f'"{made["etag"]}"'
    assert {key: data[key] for key in body} == {**body, "scopes": ["builders"]}
    assert data["archived"] is False
    assert data["organisation_id"] == "1185"


def test_get_edit_put_works(rest: Rest) -> None:
    made = rest.create()
    edited = {**rest.call("GET", f"/dashboards/{made['id']}").json()["data"], "title": "Edited"}
    answer = rest.call("PUT", f"/dashboards/{made['id']}?organisation_id=1185", edited)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["title"] == "Edited"


def test_delete_answers_empty_data(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}"
    answer = rest.call("DELETE", f"{path}?organisation_id=1185", x_change_message="no%20longer")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "data": {}})
    assert rest.call("GET", path).status_code == 404
    assert rest.call("DELETE", path).status_code == 404


@pytest.mark.parametrize("name", ["content", "content-radar"])
def test_a_content_comes_out_as_it_went_in(rest: Rest, name: str) -> None:
    path = f"/dashboards/{rest.create()['id']}"
    sent = payload(name)
    answer = rest.call("PUT", f"{path}/content", sent, x_change_message="caf%C3%A9")
    data = answer.json()["data"]
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == f'"{data["id"]}"'
    assert as_the_spec_compares(data["content"]) == as_the_spec_compares(sent)
    assert (data["change_message"], data["organisation_id"]) == ("café", "1185")
    read = rest.call("GET", f"{path}/content?organisation_id=1185")
    assert read.json() == answer.json()
    assert rest.call("GET", path).json()["data"]["dashboard_content_id"] == data["id"]
    again = rest.call("PUT", f"{path}/content", data["content"]).json()["data"]
    assert again["content"] == data["content"]
    assert again["id"] != data["id"]


def test_what_goes_in_by_rest_comes_out_by_rpc_and_back(rest: Rest) -> None:
    first, second = rest.create()["id"], rest.create(title="Second")["id"]
    rest.call("PUT", f"/dashboards/{first}/content", payload("content"))
    by_rpc = rest.rpc("GetContent", {"id": first})["contentWrapper"]
    chart = by_rpc["content"]["sections"][0]["cards"][0]["charts"][0]
    assert chart["type"] == "CHART_TYPE_METRIC"
    assert "activitiesAnalytics" in chart["dataset"]
    rest.rpc("UpdateContent", {"id": second, "content": by_rpc["content"]})
    by_rest = rest.call("GET", f"/dashboards/{second}/content").json()["data"]
    assert as_the_spec_compares(by_rest["content"]) == as_the_spec_compares(payload("content"))
    listed = rest.rpc("List", {"organisationId": "1185"})["registrations"]
    assert [one["title"] for one in listed] == ["Audience overview", "Second"]
    assert listed[0]["scopes"] == ["SCOPE_HOME", "SCOPE_SEGMENTS"]


def test_an_older_content_is_restored_by_its_id_and_an_etag(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}"
    first = rest.call("PUT", f"{path}/content", CONTENT).json()["data"]
    rest.call("PUT", f"{path}/content", {})
    current = rest.call("GET", path).json()["data"]
    body = {**current, "dashboard_content_id": first["id"]}
    assert rest.call("PUT", path, body).status_code == 428
    answer = rest.call("PUT", path, body, if_match=f'"{current["etag"]}"')
    assert answer.status_code == 200, answer.text
    assert rest.call("GET", f"{path}/content").json()["data"]["content"] == first["content"]


def test_a_bare_token_is_taken_by_rest_alone(server: RunningServer, rest: Rest, project_id: str) -> None:
    token = make_token(project_id)
    assert rest.call("GET", "/dashboards?organisation_id=1", authorization=token).status_code == 200
    headers = {"authorization": token, "x-project-id": project_id}
    url = f"{server.http}/registrations.v1.RegistrationsService/List"
    assert httpx.post(url, json={"organisationId": "1"}, headers=headers).status_code == 401


def test_the_request_id_is_echoed_and_named_in_errors(rest: Rest) -> None:
    answer = rest.call("GET", "/dashboards/x", x_request_id="my-own.1")
    assert answer.headers["x-request-id"] == answer.json()["error_id"] == "my-own.1"
    made_up = rest.call("GET", "/dashboards/x", x_request_id="not one")
    assert re.fullmatch("[0-9a-f]{32}", made_up.headers["x-request-id"])
    assert rest.call("POST", "/dashboards", registration(), x_request_id="a").headers["x-request-id"] == "a"


def test_calls_are_logged_as_rest(server: RunningServer, rest: Rest) -> None:
    rest.call("GET", "/dashboards/x", x_request_id=f"rest-{rest.project_id}")
    line = server.logged_call(f"rest-{rest.project_id}")
    assert (line["protocol"], line["method"], line["code"]) == (
        "rest",
        "/registrations.v1.RegistrationsService/Get",
        "not_found",
    )


def test_a_repeated_post_under_its_key_makes_one_registration(rest: Rest) -> None:
    key = "8E03978E-40D5-43DD-BC93-6894A57F9324"
    answers = [rest.call("POST", "/dashboards", registration(), idempotency_key=k) for k in (key, f'"{key}"')]
    assert answers[0].json() == answers[1].json()
    assert rest.call("GET", "/dashboards?organisation_id=1185").json()["total"] == 1
    other = rest.call("POST", "/dashboards", registration(title="x"), idempotency_key=key)
    assert other.status_code in {400, 409}
    assert violated(rest.call("POST", "/dashboards", registration(), idempotency_key="k")) == [
        "Idempotency-Key"
    ]


def test_a_repeated_delete_under_its_key_answers_again(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}?organisation_id=1185"
    key = "8e03978e-40d5-43dd-bc93-6894a57f9324"
    statuses = [rest.call("DELETE", path, idempotency_key=key).status_code for _ in range(2)]
    assert statuses == [200, 200]


def test_a_compressed_body_is_read(rest: Rest) -> None:
    body = gzip.compress(json.dumps(registration()).encode())
    answer = rest.call("POST", "/dashboards", content=body, content_encoding="gzip")
    assert answer.status_code == 201, answer.text


def test_head_is_get_without_a_body(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}"
    head, get = rest.call("HEAD", path), rest.call("GET", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == get.headers["etag"]
    assert rest.call("HEAD", "/dashboards/x").status_code == 404


def error(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["error_code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert body["status"] == "error"
    assert body["error_id"] == answer.headers["x-request-id"]
    return body


def test_errors_before_the_body_is_read(rest: Rest) -> None:
    broken = b"not JSON"
    answer = rest.call("POST", "/dashboards", content=broken, authorization=None)
    error(answer, 401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"
    error(rest.call("POST", "/dashboards", content=broken, authorization="x"), 401, "UNAUTHENTICATED")
    error(rest.call("POST", "/dashboards", content=broken, x_project_id="other"), 403, "PERMISSION_DENIED")
    reading = make_token(rest.project_id, scope="dashboards:read")
    error(rest.call("POST", "/dashboards", content=broken, authorization=reading), 403, "PERMISSION_DENIED")
    answer = rest.call("POST", "/dashboards", content=broken, x_project_id=None)
    assert error(answer, 400, "INVALID_ARGUMENT")["violations"][0]["field"] == "x-project-id"
    for content_type in ("text/plain", "application/json; charset=latin-1", "application/jsonp", ""):
        answer = rest.call("POST", "/dashboards", content=b"{}", content_type=content_type)
        error(answer, 415, "INVALID_ARGUMENT")
    answer = rest.call("POST", "/dashboards", content=b"{}", content_encoding="br")
    error(answer, 415, "INVALID_ARGUMENT")


def test_errors_of_the_body(rest: Rest) -> None:
    answer = rest.call("POST", "/dashboards", content=b"not JSON")
    assert "is not JSON" in error(answer, 400, "INVALID_ARGUMENT")["error"]
    answer = rest.call("POST", "/dashboards", content=b"x", content_encoding="gzip")
    error(answer, 400, "INVALID_ARGUMENT")
    answer = rest.call("POST", "/dashboards", content=b" " * (4 << 20) + b"{}")
    error(answer, 413, "RESOURCE_EXHAUSTED")
    bomb = gzip.compress(b" " * (50 << 20))
    answer = rest.call("POST", "/dashboards", content=bomb, content_encoding="gzip")
    error(answer, 413, "RESOURCE_EXHAUSTED")
    answer = rest.call("POST", "/dashboards", {"scopes": [0] * 20_001})
    error(answer, 413, "RESOURCE_EXHAUSTED")
    answer = rest.call("POST", "/dashboards", {"a": 1, "title": 1, "scopes": ["x"]})
    assert violated(answer) == [
        "a",
        "title",
        "scopes[0]",
        "builder_ids",
        "community_id",
        "organisation_id",
        "segment_ids",
    ]
    answer = rest.call("POST", "/dashboards", registration(title=" ", scopes=["home"]))
    assert set(violated(answer)) == {"title", "segment_ids"}
    assert "SCOPE_" not in answer.text


def test_a_content_s_errors_have_the_paths_of_the_body(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}/content"
    content = payload("content")
    content["sections"][0]["cards"][1]["w"] = 13
    content["sections"][1]["cards"][0]["charts"][0]["dataset"]["sources"][1]["query_id"] = ""
    content["sections"][1]["cards"][0]["charts"][0]["options"]["height"] = 0
    content["available_filters"][0]["query_fragments"][1]["fragment"][0]["dimension_name"] = ""
    answer = rest.call("PUT", path, content)
    assert set(violated(answer)) == {
        "sections[0].cards[1].w",
        "sections[1].cards[0].charts[0].dataset.sources[1].query_id",
        "sections[1].cards[0].charts[0].options.height",
        "available_filters[0].query_fragments[1].fragment[0].dimension_name",
    }
    content = payload("content")
    content["sections"][0]["cards"][1]["w"] = 13
    told = error(rest.call("PUT", path, content), 400, "INVALID_ARGUMENT")["error"]
    assert told == "Invalid dashboard content: sections[0].cards[1].w must be between 1 and 12"


def test_the_json_of_an_unknown_source_is_bounded_at_its_dataset(rest: Rest) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    content = {"sections": [{"cards": [{"x": 0, "y": 0, "w": 1, "h": 1, "charts": [
        {"type": "Metric", "dataset": {"type": "mine", "deep": deep}}]}]}]}  # fmt: skip
    answer = rest.call("PUT", f"/dashboards/{rest.create()['id']}/content", content)
    assert violated(answer) == ["sections[0].cards[0].charts[0].dataset"]


def test_errors_of_the_query(rest: Rest) -> None:
    made = rest.create()
    path = f"/dashboards/{made['id']}"
    answer = rest.call(
        "GET", "/dashboards?max_results=x&first_result=1.5&scope=all&archived=1&page=2&keywords="
    )
    assert set(violated(answer)) == {"max_results", "first_result", "scope", "archived", "page", "keywords"}
    for query, field in (
        ("", "organisation_id"),
        ("organisation_id=1&organisation_id=1", "organisation_id"),
        ("organisation_id=1&max_results=0", "max_results"),
        ("organisation_id=1&max_results=501", "max_results"),
        ("organisation_id=1&first_result=10001", "first_result"),
        ("organisation_id=1&first_result=-1", "first_result"),
        ("organisation_id=1&segment_id=1", "segment_id"),
        (f"organisation_id={'a' * 129}", "organisation_id"),
        ("organisation_id=%00", "organisation_id"),
    ):
        assert violated(rest.call("GET", f"/dashboards?{query}")) == [field], query
    error(rest.call("GET", "/dashboards?organisation_id=%FF"), 400, "INVALID_ARGUMENT")
    answer = rest.call("GET", "/dashboards?organisation_id=1&segment_id=1")
    assert error(answer, 400, "INVALID_ARGUMENT")["error"].startswith(
        'Invalid request: segment_id is only for "segments": set scope to it'
    )
    answer = rest.call("GET", f"/dashboards?{'a=1&' * 101}")
    assert "100 parameters at most" in error(answer, 400, "INVALID_ARGUMENT")["error"]
    for method, body in (("GET", None), ("DELETE", None), ("PUT", registration())):
        sent = body and {key: body[key] for key in body if key != "organisation_id"}
        error(rest.call(method, f"{path}?organisation_id=2", sent), 404, "NOT_FOUND")
    error(rest.call("PUT", f"{path}/content?organisation_id=2", {}), 404, "NOT_FOUND")
    error(rest.call("GET", f"{path}/content?organisation_id=2"), 404, "NOT_FOUND")
    differing = rest.call("PUT", f"{path}?organisation_id=2", registration())
    assert violated(differing) == ["organisation_id"]
    assert violated(rest.call("PUT", path, registration(organisation_id="2"))) == ["organisation_id"]
    assert violated(rest.call("PUT", path, registration(community_id="2"))) == ["community_id"]
    assert violated(rest.call("POST", "/dashboards?organisation_id=1185", registration())) == [
        "organisation_id"
    ]


@pytest.mark.parametrize(("query", "path"), [("skip=1", "skip"), ("etag=a", "etag"), ("a[b]=1", '["a[b]"]')])
def test_an_unknown_parameter_is_named_as_it_was_sent(rest: Rest, query: str, path: str) -> None:
    assert violated(rest.call("GET", f"/dashboards?organisation_id=1185&{query}")) == [path]


def test_no_content_is_told_apart_from_no_registration(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}/content"
    assert error(rest.call("GET", path), 404, "NOT_FOUND")["reason"] == "NO_CONTENT"
    answer = rest.call("GET", "/dashboards/x/content")
    assert error(answer, 404, "NOT_FOUND")["reason"] != "NO_CONTENT"


def test_unknown_paths_and_methods_are_told_in_the_same_form(rest: Rest) -> None:
    for path in ("", "/", "/dashboards/", "/x", "/dashboards/a/b", "/dashboards/a/content/"):
        error(rest.call("GET", path), 404, "NOT_FOUND")
    for path, allowed in (
        ("/dashboards", "GET, HEAD, POST"),
        ("/dashboards/x", "DELETE, GET, HEAD, PUT"),
        ("/dashboards/x/content", "GET, HEAD, PUT"),
        ("/openapi.json", "GET, HEAD"),
    ):
        for method in ("PATCH", "OPTIONS", "TRACE"):
            answer = rest.call(method, path)
            error(answer, 405, "UNIMPLEMENTED")
            assert answer.headers["allow"] == allowed


def test_a_browser_may_call_from_the_configured_origins(tmp_path: Path) -> None:
    with running_server(tmp_path, CORS_ORIGINS="https://app.test") as server:
        preflight = httpx.options(
            f"{server.http}/v1/dashboards/x",
            headers={
                "origin": "https://app.test",
                "access-control-request-method": "PUT",
                "access-control-request-headers": "authorization, content-type, if-match, if-none-match,"
                " idempotency-key, x-change-message, x-project-id",
            },
        )
        assert preflight.status_code == 200, preflight.text
        answer = httpx.get(f"{server.http}/v1/dashboards/x", headers={"origin": "https://app.test"})
        assert answer.headers["access-control-allow-origin"] == "https://app.test"
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"etag", "location", "x-request-id"} <= exposed


def test_writes_need_an_etag_where_the_operator_says_so(tmp_path: Path) -> None:
    with running_server(tmp_path, REQUIRE_ETAG="true") as server:
        rest = Rest(server, "p")
        made = rest.create()
        path = f"/dashboards/{made['id']}"
        for answer in (
            rest.call("PUT", path, registration()),
            rest.call("PUT", path, registration(), if_match="*"),
            rest.call("DELETE", path),
        ):
            assert error(answer, 428, "FAILED_PRECONDITION")["reason"] == "ETAG_REQUIRED"
        assert rest.call("DELETE", path, if_match=f'"{made["etag"]}"').status_code == 200
        rest.close()


def test_a_caller_of_one_organisation_reaches_no_other(server: RunningServer, rest: Rest) -> None:
    made = rest.create(organisation_id="5", community_id="5")
    other = Rest(server, rest.project_id, organisations=["6"])
    error(other.call("GET", f"/dashboards/{made['id']}"), 404, "NOT_FOUND")
    error(other.call("GET", "/dashboards?organisation_id=5"), 403, "PERMISSION_DENIED")
    other.close()
