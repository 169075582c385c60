"""The OpenAPI description: true of every route, whatever is sent."""

# schemathesis leaves the arguments of its generics out.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import json
from copy import deepcopy
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urljoin

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dashkeeper.strict_json import dump
from dashkeeper.transport.rest.routes import DASHBOARDS
from dashkeeper.transport.rest.writer import write
from tests.contents import contents
from tests.rest import CONTENT, Rest, payload
from tests.test_rest_mapping import as_the_spec_compares

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
    from tests.server import RunningServer

DESCRIPTION = (files("dashkeeper.transport.rest") / "openapi.json").read_bytes()
DOCUMENT: dict[str, Any] = json.loads(DESCRIPTION)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS: list[Any] = [
    one.ok()  # pyright: ignore[reportAttributeAccessIssue] # of a valid document none is an Err
    for one in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
]


@pytest.fixture
def rest(sqlite_server: RunningServer, project_id: str) -> Iterator[Rest]:
    client = Rest(sqlite_server, project_id)
    yield client
    client.close()


def schema(name: str) -> Any:
    """Return a validator of one of the document's schemas."""
    reference = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(reference)


def test_the_description_is_served_to_everybody_and_is_openapi(sqlite_server: RunningServer) -> None:
    answer = httpx.get(f"{sqlite_server.http}/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.content == DESCRIPTION
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_the_description_has_every_route() -> None:
    assert {path: sorted(methods) for path, methods in DOCUMENT["paths"].items()} == {
        "/v1/dashboards": ["get", "head", "post"],
        "/v1/dashboards/{id}": ["delete", "get", "head", "put"],
        "/v1/dashboards/{id}/content": ["get", "head", "put"],
        "/v1/openapi.json": ["get", "head"],
    }


def test_the_description_s_server_is_relative_so_that_a_prefix_of_a_proxy_lives() -> None:
    (server,) = DOCUMENT["servers"]
    for root in ("https://a.test", "https://a.test/boards", "http://127.0.0.1:8080/a/b"):
        # OpenAPI 3.1 §4.8.5: resolved against where the description is, then each path is appended.
        base = urljoin(f"{root}/v1/openapi.json", server["url"]).rstrip("/")
        assert f"{base}{DASHBOARDS}" == f"{root}/v1/dashboards"


def test_the_description_has_no_schema_that_is_false() -> None:
    """Generators fail on one. As the value of additionalProperties, and there alone, they know it."""
    known = {"additionalProperties", "uniqueItems", "required", "default", "const", "enum"}

    def bare(at: Any, path: str) -> Iterator[str]:
        if isinstance(at, bool):
            yield path
        elif isinstance(at, dict):
            for key, one in cast("dict[str, Any]", at).items():
                if key not in known:
                    yield from bare(one, f"{path}.{key}")
        elif isinstance(at, list):
            for one in cast("list[Any]", at):
                yield from bare(one, f"{path}[]")

    assert list(bare(DOCUMENT, "")) == []


def test_a_source_of_another_name_has_no_sources() -> None:
    dataset = schema("Dataset")
    assert dataset.is_valid({"type": "mine", "deep": [1]})
    assert not dataset.is_valid({"type": "mine", "sources": []})


@pytest.mark.parametrize("name", ["content", "content-radar"])
def test_the_examples_are_as_described(name: str) -> None:
    schema("DashboardContent").validate(payload(name))


def test_the_example_of_a_registration_is_as_described() -> None:
    schema("NewDashboardRegistration").validate(payload("create"))
    (listed,) = payload("list-response")["data"]
    schema("ChangedDashboardRegistration").validate(listed)
    schema("DashboardRegistration").validate({**listed, "etag": "a"})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents)
def test_any_valid_content_is_as_described(content: DashboardContent) -> None:
    schema("DashboardContent").validate(json.loads(dump(write(content))))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("w",), 13),
        (("x",), -1),
        (("layout",), "diagonal"),
        (("z",), 1),
        (("charts", 0, "colors", 0), "red"),
        (("charts", 0, "type"), "Donut"),
        (("charts", 0, "dataset", "query_id"), ""),
        (("charts", 0, "dataset", "uri"), "a"),
        (("charts", 0, "dataset", "type"), "join"),
        (("charts", 0, "options"), {"height": 1}),
        (("charts", 0, "options"), {"format": "index"}),
    ],
)
def test_what_is_refused_is_not_as_described(path: tuple[str | int, ...], value: object) -> None:
    content = json.loads(json.dumps(CONTENT))
    at = content["sections"][0]["cards"][0]
    at["charts"][0]["colors"] = ["#000000"]
    assert schema("DashboardContent").is_valid(content)
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert not schema("DashboardContent").is_valid(content)


CASES = [
    pytest.param(operation, mode, id=f"{operation.label}, {mode.value}")
    for operation in OPERATIONS
    for mode in GenerationMode
    # Nothing can be wrong with a call of /openapi.json; to spoil a tree as deep as a content takes a
    # minute that way, and is done another way below.
    if mode is GenerationMode.POSITIVE
    or ("dashboards" in operation.path and operation.label != "PUT /v1/dashboards/{id}/content")
]


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_whatever_is_sent_the_answer_is_as_described(
    rest: Rest, sqlite_server: RunningServer, operation: Any, mode: GenerationMode
) -> None:
    headers = {"authorization": rest.authorization, "x-project-id": rest.project_id}
    made = rest.create()["id"]
    rest.call("PUT", f"/dashboards/{made}/content", CONTENT)
    seen: list[int] = []

    # The same cases each time: what fails is found by raising max_examples, not by chance.
    @seed(20_211_022)
    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if len(seen) % 5:
            case.headers.update(headers)  # else as the case has it, which no server would take
        if "id" in case.path_parameters and mode is GenerationMode.POSITIVE:
            case.path_parameters["id"] = made
        answer = case.call(base_url=sqlite_server.http)
        seen.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    send()
    assert seen


EMPTY: st.SearchStrategy[Any] = st.sampled_from(["{}", "[]"]).map(json.loads)
JUNK = EMPTY | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """Make the JSON of a content that has one value or key replaced, added or left out."""
    content: Any = deepcopy(draw(st.sampled_from([payload("content"), payload("content-radar"), CONTENT])))
    places: list[tuple[Any, Any]] = []
    pending: list[Any] = [content]
    while pending:
        at = pending.pop()
        keys = [*at] if isinstance(at, dict) else [*range(len(at))]
        places += [(at, key) for key in keys]
        pending += [at[key] for key in keys if isinstance(at[key], dict | list)]
    at, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["replace", "leave out", "add"])):
        case "leave out":
            del at[key]
        case "add" if isinstance(at, dict):
            at[draw(st.text(max_size=5))] = draw(JUNK)
        case _:
            at[key] = draw(JUNK)
    return json.loads(json.dumps(content))


def test_a_spoilt_content_is_stored_as_it_is_or_refused_with_paths(rest: Rest) -> None:
    path = f"/dashboards/{rest.create()['id']}/content"
    statuses: set[int] = set()

    @seed(20_211_022)
    @settings(max_examples=150, deadline=None, database=None, phases=[Phase.generate])
    @given(content=spoilt())
    def send(content: Any) -> None:
        answer = rest.call("PUT", path, content)
        statuses.add(answer.status_code)
        if answer.status_code == 200:
            assert as_the_spec_compares(answer.json()["data"]["content"]) == as_the_spec_compares(content)
        else:
            assert answer.status_code == 400, answer.text
            schema("Error").validate(answer.json())

    send()
    assert statuses == {200, 400}
