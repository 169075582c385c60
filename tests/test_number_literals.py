"""Numbers of a data source that the API doesn't know: as written, whichever way they come and go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.rest import Rest, violated

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.server import RunningServer

LITERALS = [
    "1e3",
    "1E+3",
    "1.0",
    "1",
    "0.10",
    "-0",
    "-0.0",
    "0.1000000000000000055511151231257827",
    "1234567890123456789",
    "-9007199254740993",
    "1E400",
    "-1e-400",
    "9" * 5_000,
    "0." + "3" * 5_000,
]
KEPT = f'{{"z":[{",".join(LITERALS)}],"a":{{"n":{LITERALS[8]},"s":"1e3"}}}}'
PLACE = (
    '"sections":[{"title":"A","cards":[{"x":0,"y":0,"w":1,"h":1,"charts":[{"type":"Metric","dataset":%s}]}]}]'
)


@pytest.fixture
def rest(sqlite_server: RunningServer, project_id: str) -> Iterator[Rest]:
    client = Rest(sqlite_server, project_id)
    yield client
    client.close()


def put(rest: Rest, dataset: str) -> tuple[str, httpx.Response]:
    """Put a content with this dataset; return the registration's id, and the answer."""
    found = rest.create()["id"]
    body = "{" + PLACE % dataset + "}"
    return found, rest.call("PUT", f"/dashboards/{found}/content", content=body.encode())


def rpc_content(rest: Rest, registration_id: str) -> Any:
    return rest.rpc("GetContent", {"id": registration_id})["contentWrapper"]["content"]


def dataset_of(content: Any) -> Any:
    return content["sections"][0]["cards"][0]["charts"][0]["dataset"]


def test_numbers_that_came_by_rest_are_kept_and_given_back_as_written(rest: Rest) -> None:
    found, answer = put(rest, f'{{"type":"mine","series_title":"S",{KEPT[1:]}')
    assert answer.status_code == 200, answer.text
    written = f'"dataset":{{"type":"mine","series_title":"S",{KEPT[1:]}'
    assert written in answer.text
    assert written in rest.call("GET", f"/dashboards/{found}/content").text
    content = rpc_content(rest, found)
    assert dataset_of(content)["other"] == {"type": "mine", "json": KEPT}


def test_numbers_that_came_by_rpc_are_given_by_rest_as_written(rest: Rest) -> None:
    found, answer = put(rest, '{"type":"mine"}')
    assert '"dataset":{"type":"mine"}' in answer.text
    content = rpc_content(rest, found)
    spaced = KEPT.replace(",", " ,\n").replace("{", "{ ")
    dataset_of(content)["other"]["json"] = spaced
    rest.rpc("UpdateContent", {"id": found, "content": content})
    read = rest.call("GET", f"/dashboards/{found}/content")
    assert f'"dataset":{{"type":"mine",{KEPT[1:]}' in read.text
    # And once more around: what was read is written.
    body = read.content.partition(b'"content":')[2]
    content_text = body[: json.JSONDecoder(parse_int=str).raw_decode(body.decode())[1]]
    assert rest.call("PUT", f"/dashboards/{found}/content", content=content_text).status_code == 200
    assert dataset_of(rpc_content(rest, found))["other"]["json"] == KEPT


@pytest.mark.parametrize("kept", ["{}", '{"a":{}}', '{"a":"}"}'])
def test_kept_json_without_a_number_is_given_as_it_is(rest: Rest, kept: str) -> None:
    _, answer = put(rest, '{"type":"mine"' + ("," if kept != "{}" else "") + kept[1:])
    assert ('"dataset":{"type":"mine"' + ("," if kept != "{}" else "") + kept[1:]) in answer.text


@pytest.mark.parametrize("literal", ["01", "+1", "1.", ".5", "1e", "0x1", "NaN", "-Infinity"])
def test_what_is_no_number_is_refused(rest: Rest, literal: str) -> None:
    _, answer = put(rest, f'{{"type":"mine","a":{literal}}}')
    assert answer.status_code == 400


TYPED = [
    ('{"type":"OTQL","query_id":9007199254740993}', "query_id"),
    ('{"type":"OTQL","query_id":' + "9" * 5_000 + "}", "query_id"),
    ('{"type":"OTQL","query_id":1e3}', "query_id"),
    ('{"type":"OTQL","query_id":1.0}', "query_id"),
    (
        '{"type":"data_ingestion","query_json":{"metrics":[{"expression":"a"}],"sample_factor":1e400}}',
        "query_json.sample_factor",
    ),
    (
        '{"type":"data_ingestion","query_json":{"metrics":[{"expression":"a"}],"sample_factor":9007199254740992}}',
        "query_json.sample_factor",
    ),
]


@pytest.mark.parametrize(("dataset", "path"), TYPED, ids=range(len(TYPED)))
def test_typed_number_that_not_every_reader_reads_is_refused_with_its_path(
    rest: Rest, dataset: str, path: str
) -> None:
    _, answer = put(rest, dataset)
    assert (answer.status_code, violated(answer)) == (400, [f"sections[0].cards[0].charts[0].dataset.{path}"])


def test_query_id_as_a_number_is_kept_to_the_last_digit(rest: Rest) -> None:
    _, answer = put(rest, '{"type":"OTQL","query_id":9007199254740991}')
    assert dataset_of(answer.json()["data"]["content"])["query_id"] == "9007199254740991"


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("1e999", "is a number beyond a double"),
        ("9007199254740992", "must be an integer from -9007199254740991 to 9007199254740991"),
        ("2147483648", "must be an integer from -2147483648 to 2147483647"),
        ("1.5", "must be an integer"),
        ('"1"', "must be an integer"),
    ],
)
def test_whole_number_out_of_range_is_refused_with_its_path(rest: Rest, number: str, problem: str) -> None:
    found = rest.create()["id"]
    body = ("{" + PLACE % '{"type":"mine"}' + "}").replace('"w":1', f'"w":{number}')
    answer = rest.call("PUT", f"/dashboards/{found}/content", content=body.encode())
    (violation,) = answer.json()["violations"]
    assert violation == {"field": "sections[0].cards[0].w", "description": problem}
