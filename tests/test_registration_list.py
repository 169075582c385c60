"""List of registrations: its order, its filters by title, its pages and what they hold."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dashkeeper.gen.registrations.v1.registrations_pb import ListResponse
from tests.registrations import (
    BUILDERS,
    HOME,
    MAX_CONTENT_BYTES,
    SEGMENTS,
    client,
    done,
    listed,
    pages,
    register,
    show,
)
from tests.test_registration_contents import large
from tests.tiles import Json, ids

if TYPE_CHECKING:
    from tests.api import Api
    from tests.server import RunningServer


def titles(registrations: list[Json]) -> list[str]:
    return [it["title"] for it in registrations]


def walk(api: Api, **request: object) -> list[list[Json]]:
    """Return all pages."""
    return list(pages(api, "List", "registrations", **{"organisationId": "org", **request}))


def test_list_is_by_title_as_utf_8_sorts_then_by_id(registrations: Api) -> None:
    expected = ["A", "B", "Z", "a", "a ", "aa", "é", "ﬀ", "\uffff", "\U0001f600"]
    for title in expected[::-1]:
        register(registrations, title=title)
    twins = [register(registrations, title="same")["id"] for _ in range(3)]
    assert titles(listed(registrations)) == [*expected[:6], *["same"] * 3, *expected[6:]]
    assert ids(listed(registrations, titleContains="same")) == twins == sorted(twins)


CONTAINS = [
    ("", True),
    ("50% Off_a\\b", True),
    ("50% oFF_A\\B", True),
    ("%", True),
    ("_", True),
    ("\\", True),
    ("\\%", False),
    ("5_%", False),
    ("0_ ", False),
    ("50%off", False),
    ("straße", True),
    ("STRASSE", True),
    ("éÉ", True),
    ("e\u0301", True),
    ("\U0001f600", True),
    ("'", True),
    ('"; --', False),
    (" ", True),
    ("/", False),
]


@pytest.mark.parametrize(("text", "found"), CONTAINS)
def test_title_contains_ignores_case_and_knows_no_wildcards(
    one_registrations: Api, text: str, found: bool
) -> None:
    made = register(one_registrations, title="x 50% Off_a\\b Straße éé \U0001f600'")
    register(one_registrations, title="other/") if text == "/" and found else None
    expected = [made] if found else []
    assert listed(one_registrations, titleContains=text) == expected


def test_list_of_nothing_is_empty(registrations: Api) -> None:
    assert done(registrations, "List", organisationId="org").body == {}
    assert (
        done(registrations, "List", organisationId="org", includeTotal=True, includeContent=True).body == {}
    )


def test_list_with_contents_leaves_out_the_archived_and_those_without(registrations: Api) -> None:
    made = {title: register(registrations, title=title, archived=title == "2") for title in "1234"}
    for title in "234":
        show(registrations, made[title]["id"], "old")
        show(registrations, made[title]["id"], title)
    done(registrations, "Delete", id=made["4"]["id"])

    def found(**request: object) -> tuple[list[str], list[str]]:
        body = done(registrations, "List", organisationId="org", includeContent=True, **request).body
        assert [it["dashboardContentId"] for it in body["registrations"]] == ids(body["contentWrappers"])
        shown = [it["content"]["sections"][0]["title"] for it in body["contentWrappers"]]
        return titles(body["registrations"]), shown

    assert found() == (["3"], ["3"])
    assert found(archived=False) == (["3"], ["3"])
    assert found(archived=True) == (["2"], ["2"])
    assert found(showDeleted=True) == (["3", "4"], ["3", "4"])
    body = done(registrations, "List", organisationId="org").body
    assert (titles(body["registrations"]), "contentWrappers" in body) == (["1", "2", "3"], False)
    assert titles(listed(registrations, archived=False)) == ["1", "3"]
    assert titles(listed(registrations, archived=True)) == ["2"]
    first = done(registrations, "List", organisationId="org", includeContent=True).body["contentWrappers"][0]
    assert first == done(registrations, "GetContent", id=made["3"]["id"]).wrapper


@pytest.fixture
def ten(one_registrations: Api) -> Api:
    """Ten registrations of an organisation: titles in pairs, three deleted, all but two with a content."""
    for index in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7):
        scopes = [HOME] if index % 3 == 0 else [SEGMENTS, BUILDERS]
        made = register(one_registrations, title=f"t{index // 2}", scopes=scopes)
        if index > 1:
            show(one_registrations, made["id"])
        if index in (8, 2, 5):
            done(one_registrations, "Delete", id=made["id"])
    return one_registrations


def test_pages_of_any_size_hold_each_registration_once(ten: Api) -> None:
    for request, length in ({"showDeleted": True}, 10), ({}, 7), ({"includeContent": True}, 5):
        whole = listed(ten, **request)
        assert len(whole) == length
        for page_size in (1, 2, 3, length - 1, length, length + 1):
            found = walk(ten, pageSize=page_size, **request)
            assert [it for page in found for it in page] == whole
            assert all(len(page) == page_size for page in found[:-1])
            assert found[-1], "the last page is empty"


def test_pages_go_on_over_every_protocol(registrations: Api) -> None:
    for title in "abcde":
        register(registrations, title=title)
    assert [titles(page) for page in walk(registrations, pageSize=2)] == [["a", "b"], ["c", "d"], ["e"]]
    assert [titles(page) for page in walk(registrations, pageSize=1, titleContains="C")] == [["c"]]


def test_pages_of_an_organisation_with_its_community_are_one_list(one_registrations: Api) -> None:
    for title, organisation in zip("abcdef", itertools.cycle(["org", "community"])):
        register(one_registrations, title=title, organisationId=organisation)
    found = walk(one_registrations, pageSize=2, includeCommunity=True)
    assert [titles(page) for page in found] == [["a", "b"], ["c", "d"], ["e", "f"]]


def test_pages_skip_and_repeat_nothing_when_others_write_between(one_registrations: Api) -> None:
    """The one last seen goes, some come, some change: those that keep their title are seen exactly once."""
    made = {title: register(one_registrations, title=title)["id"] for title in "bdfhjl"}
    seen: list[str] = []
    for page in pages(one_registrations, "List", "registrations", organisationId="org", pageSize=1):
        seen += titles(page)
        if seen[-1] in "df":
            done(one_registrations, "Delete", id=made[seen[-1]])
            register(one_registrations, title="a")
            done(one_registrations, "Update", id=made["j"], scopes=[])
            show(one_registrations, made["l"])
    assert seen == list("bdfhjl")


@pytest.mark.parametrize(
    "other",
    [
        {"organisationId": "other"},
        {"communityId": "community"},
        {"includeCommunity": True},
        {"scope": HOME, "segmentId": ""},
        {"segmentId": "2"},
        {"segmentId": ""},
        {"archived": True},
        {"titleContains": "T"},
        {"showDeleted": True},
        {"includeContent": True},
    ],
)
def test_page_token_of_another_list_is_refused(one_registrations: Api, other: Json) -> None:
    for organisation in ("org", "org", "other"):
        register(one_registrations, scopes=[SEGMENTS, HOME], organisationId=organisation)
    request = {"organisationId": "org", "scope": SEGMENTS, "segmentId": "1", "archived": False, "pageSize": 1}
    token = done(one_registrations, "List", **request).body["nextPageToken"]
    reply = one_registrations.call("List", request | other | {"pageToken": token})
    assert (reply.code, reply.reason) == ("invalid_argument", "INVALID_PAGE_TOKEN")
    assert list(reply.violations) == ["page_token"]


def test_page_token_of_another_project_or_service_is_refused(
    server: RunningServer, project_id: str, one_registrations: Api, one_api: Api
) -> None:
    other = client(server, f"{project_id}-2")
    for api in (one_registrations, other):
        register(api)
        register(api)
    request: Json = {"organisationId": "org", "pageSize": 1}
    token = done(one_registrations, "List", **request).body["nextPageToken"]
    assert other.call("List", request | {"pageToken": token}).reason == "INVALID_PAGE_TOKEN"
    assert one_api.call("List", {"pageToken": token}).reason == "INVALID_PAGE_TOKEN"
    other.close()


@pytest.mark.parametrize("title", ["\U0001f600" * 200, '"' * 200, "\\" * 200])
def test_page_token_after_the_longest_title_is_taken(one_registrations: Api, title: str) -> None:
    made = [register(one_registrations, title=title)["id"] for _ in range(2)]
    assert [ids(page) for page in walk(one_registrations, pageSize=1)] == [[it] for it in made]


def test_skip_leaves_out_so_many(ten: Api) -> None:
    whole = listed(ten, showDeleted=True)
    for skip in (0, 1, 9, 10, 11, 10_000):
        assert listed(ten, showDeleted=True, skip=skip) == whole[skip:]
        assert listed(ten, showDeleted=True, skip=skip, pageSize=3) == whole[skip : skip + 3]
    first = done(ten, "List", organisationId="org", showDeleted=True, pageSize=2, skip=1).body
    request = {"showDeleted": True, "pageToken": first["nextPageToken"]}
    assert listed(ten, **request) == whole[3:], "the token goes on where the page ended"
    assert listed(ten, **request, skip=2) == whole[5:]
    for skip in (-1, 10_001):
        reply = ten.call("List", {"organisationId": "org", "skip": skip})
        assert (reply.code, list(reply.violations)) == ("invalid_argument", ["skip"])


def test_total_counts_what_meets_the_filters_on_all_pages(ten: Api) -> None:
    def total(**request: object) -> int:
        body = done(ten, "List", organisationId="org", includeTotal=True, pageSize=1, **request).body
        return body.get("totalSize", 0)

    assert total() == 7
    assert total(showDeleted=True) == 10
    assert total(includeContent=True) == 5
    assert total(scope=HOME, showDeleted=True) == 4
    assert total(titleContains="T2", showDeleted=True) == 2
    assert total(skip=100) == 7
    token = done(ten, "List", organisationId="org", pageSize=3).body["nextPageToken"]
    assert total(pageToken=token) == 7
    assert "totalSize" not in done(ten, "List", organisationId="org").body


@pytest.mark.parametrize("page_size", [-1, -2147483648])
def test_page_size_below_zero_is_refused(one_registrations: Api, page_size: int) -> None:
    reply = one_registrations.call("List", {"organisationId": "org", "pageSize": page_size})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["page_size"])


def test_page_with_contents_holds_fifty(one_registrations: Api) -> None:
    for number in range(51):
        show(one_registrations, register(one_registrations, title=f"{number:03}")["id"])
    for page_size in (0, 50, 51, 2_147_483_647):
        assert [len(it) for it in walk(one_registrations, includeContent=True, pageSize=page_size)] == [50, 1]
    assert len(listed(one_registrations)) == 51


def test_page_ends_early_to_stay_below_3_5_mib(server: RunningServer, project_id: str) -> None:
    api = client(server, project_id)
    many = [f"{number:03}" + "x" * 125 for number in range(1_000)]

    def make(number: int) -> str:
        fields = {"scopes": [SEGMENTS, BUILDERS], "segmentIds": many, "builderIds": many}
        return register(api, title=f"{number:02}", **fields)["id"]

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(make, range(16)))
    found = walk(api)
    assert [ids(page) for page in found] == [made[:13], made[13:]]
    size = len(ListResponse.from_json(json.dumps({"registrations": found[0]})).to_binary())
    assert MAX_CONTENT_BYTES - size < 300_000, "ended earlier than needed"
    api.close()


def test_page_with_contents_ends_early_and_never_before_the_first(
    server: RunningServer, project_id: str
) -> None:
    api = client(server, project_id)
    made = [register(api, title=str(number))["id"] for number in range(5)]
    for registration_id, size in zip(
        made, (1_500_000, 3_600_000, 1_800_000, 1_700_000, 300_000), strict=True
    ):
        done(api, "UpdateContent", id=registration_id, content=large(size))
    found = walk(api, includeContent=True)
    assert [ids(page) for page in found] == [[made[0]], [made[1]], made[2:4], made[4:]]
    api.close()
