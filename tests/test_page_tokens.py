"""Page tokens that the server didn't give, or not for this list: refused, and they open nothing."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api import TRANSPORTS, Api
from tests.attack import PROJECT, assert_clean, unharmed
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.api import Reply
    from tests.server import RunningServer


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of these tests' own: what harms it must not fail others."""
    with running_server(tmp_path_factory.mktemp("attacked")) as running:
        for project in (PROJECT, "other"):
            api = Api(running, "grpc", make_token(project), project)
            for number in range(4):
                name = f"{project} {number}"
                assert api.call("Create", {"name": name, "dashboardId": f"{project}-{number}"}).code == "ok"
            api.close()
        yield running


@pytest.fixture
def apis(attacked: RunningServer) -> Iterator[dict[str, Api]]:
    with unharmed(attacked) as clients:
        yield clients


def first_token(api: Api, **request: Any) -> str:
    token = api.call("List", {"pageSize": 2, **request}).body["nextPageToken"]
    assert token
    return token


def unpacked(token: str) -> list[Any]:
    return json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))


def packed(content: object) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def assert_refused(reply: Reply) -> None:
    assert (reply.code, set(reply.violations)) == ("invalid_argument", {"page_token"})
    assert reply.reason in {"INVALID_PAGE_TOKEN", "INVALID_REQUEST"}
    assert_clean(reply.message)


# What is made of a genuine token, which holds the list's digest, the last sort value and the last id.
FORGERIES: dict[str, Callable[[list[Any]], str]] = {
    "cut": lambda it: packed(it)[:-3],
    "cut-to-one": lambda it: packed(it)[:1],
    "longer": lambda it: packed(it) + "AAAA",
    "twice": lambda it: packed(it) * 2,
    "characters-of-no-base64": lambda _: "!!!!",
    "not-ascii": lambda _: "é" * 20,
    "white-space": lambda _: "    ",
    "not-json": lambda _: packed(b"\xff\xfe\xfd"),
    "nested": lambda _: packed(b"[" * 700),
    "null": lambda _: packed(None),
    "number": lambda _: packed(7),
    "string": lambda _: packed("abc"),
    "object": lambda _: packed({"a": 1, "b": 2, "c": 3}),
    "empty": lambda _: packed([]),
    "too-short": lambda it: packed(it[:2]),
    "too-long": lambda it: packed([*it, 1]),
    "digest-of-another": lambda it: packed(["0" * 16, *it[1:]]),
    "digest-null": lambda it: packed([None, *it[1:]]),
    "value-text": lambda it: packed([it[0], "a", it[2]]),
    "value-true": lambda it: packed([it[0], True, it[2]]),
    "value-float": lambda it: packed([it[0], 1.5, it[2]]),
    "value-nan": lambda it: packed(f'["{it[0]}",NaN,"a"]'.encode()),
    "value-null": lambda it: packed([it[0], None, it[2]]),
    "value-array": lambda it: packed([it[0], [1], it[2]]),
    "value-above-64-bits": lambda it: packed([it[0], 2**63, it[2]]),
    "value-below-64-bits": lambda it: packed([it[0], -(2**63) - 1, it[2]]),
    "value-of-700-digits": lambda it: packed(f'["{it[0]}",{"9" * 700},"a"]'.encode()),
    "id-number": lambda it: packed([it[0], it[1], 7]),
    "id-null": lambda it: packed([it[0], it[1], None]),
    "id-zero-character": lambda it: packed([it[0], it[1], "a\0"]),
    "id-lone-surrogate": lambda it: packed([it[0], it[1], "\ud800"]),
    "too-long-for-any": lambda it: packed([it[0], it[1], "a" * 10_000]),
}


@pytest.mark.parametrize("transport", ["grpc", "connect-json"])
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_forged_page_token_is_refused(
    apis: dict[str, Api], transport: str, forge: Callable[[list[Any]], str]
) -> None:
    api = apis[transport]
    token = forge(unpacked(first_token(api)))
    assert_refused(api.call("List", {"pageSize": 2, "pageToken": token}))


@pytest.mark.parametrize("value", ["a\0", "\ud800", 7, None], ids=["zero", "surrogate", "number", "null"])
def test_forged_page_token_of_names_is_refused(apis: dict[str, Api], value: object) -> None:
    api = apis["grpc"]
    digest, _, last_id = unpacked(first_token(api, orderBy="name"))
    token = packed([digest, value, last_id])
    assert_refused(api.call("List", {"pageSize": 2, "orderBy": "name", "pageToken": token}))


OTHER_LISTS: dict[str, dict[str, Any]] = {
    "order": {"orderBy": "name"},
    "direction": {"orderBy": "created_at desc"},
    "column": {"orderBy": "updated_at"},
    "label": {"labels": {"env": "prod"}},
    "label key": {"labelKeys": ["env"]},
    "prefix": {"namePrefix": "a"},
    "part": {"nameContains": "a"},
    "deleted": {"showDeleted": True},
}


@pytest.mark.parametrize("other", OTHER_LISTS.values(), ids=OTHER_LISTS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_page_token_of_another_list_is_refused(
    apis: dict[str, Api], transport: str, other: dict[str, Any]
) -> None:
    api = apis[transport]
    assert_refused(api.call("List", {"pageToken": first_token(api), **other}))


def test_page_token_in_two_filters_that_concatenate_alike_is_refused(apis: dict[str, Api]) -> None:
    api = apis["grpc"]
    token = first_token(api, namePrefix="attacked")
    assert_refused(api.call("List", {"nameContains": "attacked", "pageToken": token}))


def test_page_token_minds_the_keys_of_labels_not_their_order(apis: dict[str, Api]) -> None:
    api = apis["grpc"]
    labels = {"env": "prod", "team": "web"}
    for _ in range(2):
        assert api.call("Create", {"name": "a", "labels": labels}).code == "ok"
    request = {"labelKeys": ["env", "team"], "pageSize": 1}
    token = api.call("List", request).body["nextPageToken"]
    assert (
        api.call("List", {**request, "labelKeys": ["team", "env", "team"], "pageToken": token}).code == "ok"
    )
    for other in ([], ["env"], ["env", "team", "owner"]):
        assert_refused(api.call("List", {**request, "labelKeys": other, "pageToken": token}))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_page_token_of_another_project_is_refused(
    attacked: RunningServer, apis: dict[str, Api], transport: str
) -> None:
    other = Api(attacked, transport, make_token("other"), "other")
    token = first_token(other)
    other.close()
    assert_refused(apis[transport].call("List", {"pageSize": 2, "pageToken": token}))


@pytest.mark.parametrize("value", [-(2**63) + 1, 0, 2**63 - 1])
@pytest.mark.parametrize("last_id", ["", "other-0", "'; DROP TABLE dashboards; --", "%", "\uffff"])
def test_made_up_page_token_of_right_form_shows_only_the_own_project(
    apis: dict[str, Api], value: int, last_id: str
) -> None:
    api = apis["grpc"]
    token = packed([unpacked(first_token(api))[0], value, last_id])
    reply = api.call("List", {"pageToken": token})
    assert reply.code == "ok"
    assert all(shown["name"].startswith(("a", PROJECT)) for shown in reply.body.get("dashboards", []))
    assert '"other-' not in json.dumps(reply.body)  # as its ids begin, and nothing made at random


def test_page_token_with_another_page_size_is_taken(apis: dict[str, Api]) -> None:
    api = apis["grpc"]
    reply = api.call("List", {"pageToken": first_token(api), "pageSize": 1})
    assert len(reply.body["dashboards"]) == 1
