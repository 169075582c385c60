"""Names are found whichever way their accents are written (NFC, NFD), and stay as they were sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import pytest
from sqlalchemy import insert, select

from dashkeeper.store.migrations import SCHEMA
from dashkeeper.store.tables import dashboards, registrations
from tests.database import make_database
from tests.registrations import listed as listed_registrations
from tests.registrations import register
from tests.rest import Rest, payload
from tests.test_list import create, listed
from tests.test_rest_openapi import schema
from tests.texts import INVISIBLE, VISIBLE
from tests.tiles import ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from tests.api import Api
    from tests.server import RunningServer

NFC, NFD = "École é", "E\u0301cole e\u0301"
FORMS = [NFC, NFD, "E\u0301cole é"]

# A text, names that it is found in, and names that it isn't found in.
CONTAINS: list[tuple[str, list[str], list[str]]] = [
    ("é", FORMS, ["e", "E"]),
    ("e\u0301", [*FORMS, "É"], ["e", "e\u0300"]),
    ("E\u0301CO", FORMS, ["eco", "ecó"]),
    ("ecole", ["Ecole"], FORMS),
    ("cole", FORMS, []),
    ("\u212bngstr\u00f6m", ["ångström", "A\u030aNGSTRO\u0308M", "xÅngströmx"], ["angstrom"]),
    ("\u1112\u1161\u11ab", ["한국", "\u1112\u1161\u11ab"], ["하국"]),
    ("STRASSE", ["Straße", "stra\u017f\u017fe"], ["Strase"]),
    # The iota below, a mark of its own, folds to a letter: marks are sorted before that (D145).
    (
        "\u03b1\u0345\u0301",
        ["\u1fb4", "\u1fbc\u0301", "ά\u0345", "\u03b1\u0301\u0345"],
        ["άx"],
    ),
]

# A prefix, names that begin with it, and names that don't.
PREFIXES = [
    ("É", [*FORMS, "É", "E\u0301"], ["é", "E", "Eco", "xÉ"]),
    ("E\u0301", [*FORMS, "É", "E\u0301"], ["e\u0301", "E", "Eco", "xÉ"]),
    ("E", ["E", "Ecole", "EE\u0301"], FORMS),
    ("École é", FORMS, ["École e", "école é"]),
    ("\u1112\u1161", ["하", "\u1112\u1161x"], ["한", "\u1112\u1161\u11ab"]),
]


@pytest.mark.parametrize(("text", "found", "others"), CONTAINS)
def test_name_contains_finds_any_form(one_api: Api, text: str, found: list[str], others: list[str]) -> None:
    for index, name in enumerate(found + others):
        assert create(one_api, f"d{index}", name)["name"] == name
    expected = [f"d{index}" for index in range(len(found))]
    assert listed(one_api, nameContains=text) == expected
    assert listed(one_api, nameContains=normalize("NFD", text)) == expected
    assert listed(one_api, nameContains=normalize("NFC", text).upper()) == expected


@pytest.mark.parametrize(("text", "found", "others"), PREFIXES)
def test_name_prefix_finds_any_form_and_minds_case(
    one_api: Api, text: str, found: list[str], others: list[str]
) -> None:
    for index, name in enumerate(found + others):
        create(one_api, f"d{index}", name)
    expected = [f"d{index}" for index in range(len(found))]
    assert listed(one_api, namePrefix=text) == expected
    assert listed(one_api, namePrefix=normalize("NFD", text)) == expected


@pytest.mark.parametrize("text", [NFC, NFD])
def test_name_is_found_by_its_new_form_after_each_write(one_api: Api, text: str) -> None:
    create(one_api, "a", "Other")
    create(one_api, "b", NFD)
    one_api.call("Update", {"id": "a", "name": NFD})
    one_api.call("Update", {"id": "b", "name": "Other"})
    assert listed(one_api, namePrefix=text) == listed(one_api, nameContains=text) == ["a"]
    assert listed(one_api, namePrefix="Other") == listed(one_api, nameContains="other") == ["b"]
    one_api.call("Update", {"id": "a", "name": NFC})
    assert listed(one_api, namePrefix=text) == listed(one_api, nameContains=text) == ["a"]
    one_api.call("Restore", {"id": "a", "revision": 2})
    assert listed(one_api, namePrefix=text) == ["a"]
    assert one_api.call("Get", {"id": "a"}).dashboard["name"] == NFD


@pytest.mark.parametrize("order", ["created_at", "updated_at desc", "name", "name desc"])
@pytest.mark.parametrize("show_deleted", [False, True])
def test_pages_by_prefix_hold_each_form_once_in_order(
    one_api: Api, order: str, *, show_deleted: bool
) -> None:
    """Names sort by the bytes that were sent, where the forms of one are apart."""
    names = [f"{FORMS[index % 3]} {index // 3}" for index in range(12)]
    for index in (7, 3, 11, 0, 5, 9, 2, 6, 8, 1, 10, 4):
        create(one_api, f"d{index:02}", names[index])
        create(one_api, f"x{index:02}", f"Ecole {index}")
        if index % 5 == 0:
            one_api.call("Delete", {"id": f"d{index:02}"})
    request = {"orderBy": order, "showDeleted": show_deleted}
    everything = one_api.call("List", request).body["dashboards"]
    expected = [it for it in everything if it["id"].startswith("d")]
    assert len(expected) == (12 if show_deleted else 9)
    for page_size in (1, 2, 5, 12):
        found: list[str] = []
        token = ""
        while not found or token:
            page = one_api.call(
                "List", {**request, "namePrefix": "École", "pageSize": page_size, "pageToken": token}
            ).body
            found += ids(page["dashboards"])
            token = page.get("nextPageToken", "")
        assert found == ids(expected)


@pytest.mark.parametrize(("text", "found", "others"), CONTAINS)
def test_title_contains_finds_any_form(
    one_registrations: Api, text: str, found: list[str], others: list[str]
) -> None:
    made = [register(one_registrations, title=title) for title in found]
    for title in others:
        register(one_registrations, title=title)
    expected = {it["id"] for it in made}
    for part in (text, normalize("NFD", text)):
        assert set(ids(listed_registrations(one_registrations, titleContains=part))) == expected
    assert {it["title"] for it in made} == set(found)


def test_keywords_of_rest_find_any_form(sqlite_server: RunningServer, project_id: str) -> None:
    rest = Rest(sqlite_server, project_id)
    made = [rest.create(title=title)["id"] for title in FORMS]
    rest.create(title="Ecole e")
    for keywords in (NFC, NFD, NFD.lower()):
        answer = rest.call("GET", f"/dashboards?organisation_id=1185&keywords={keywords}").json()
        assert (answer["total"], set(ids(answer["data"]))) == (3, set(made))
    rest.close()


@pytest.fixture(scope="module")
def invisible(sqlite_server: RunningServer) -> Iterator[tuple[Rest, str]]:
    """A client, and a registration for it to change."""
    client = Rest(sqlite_server, "invisible-titles")
    yield client, client.create()["id"]
    client.close()


DASHBOARD = {
    "deleted": 0,
    "created_at": 1,
    "updated_at": 2,
    "revision": 3,
    "header": b"header",
    "body_hash": b"hash",
}
REGISTRATION = {
    "deleted": 0,
    "organisation_id": "o",
    "archived": 0,
    "revision": 3,
    "content_number": 0,
    "header": b"header",
}
COUNT = 2_500
"""More rows than the migration reads at once."""


def name_of(number: int) -> str:
    return f"{(*FORMS, 'Plain')[number % 4]} {number}"


def test_migrate_from_0003_folds_the_names_that_are_there(empty_url: str) -> None:
    def fill(conn: Connection) -> None:
        for table, column, row in ((dashboards, "name", DASHBOARD), (registrations, "title", REGISTRATION)):
            conn.execute(
                insert(table),
                [
                    {
                        "project_id": f"p{number % 3}",
                        "id": f"d{number}",
                        column: name_of(number),
                        f"folded_{column}": name_of(number).casefold(),
                        **row,
                    }
                    for number in range(COUNT)
                ],
            )

    async def migrated() -> tuple[str | None, list[Any], list[Any]]:
        database = make_database(empty_url)
        await database.migrate("0003")
        await database.write(fill)
        await database.migrate("head")
        read = (dashboards.c.id, dashboards.c.name, dashboards.c.folded_name, dashboards.c.composed_name)
        found = await database.scan(lambda conn: [tuple(row) for row in conn.execute(select(*read))])
        titles = (registrations.c.id, registrations.c.title, registrations.c.folded_title)
        titled = await database.scan(lambda conn: [tuple(row) for row in conn.execute(select(*titles))])
        version = await database.schema_version()
        await database.close()
        return version, [*found], [*titled]

    version, found, titled = asyncio.run(migrated())
    assert version == SCHEMA
    folded = {
        name_of(number): f"{'plain' if number % 4 == 3 else 'école é'} {number}" for number in range(COUNT)
    }
    composed = {
        name_of(number): f"École é {number}" if number % 4 in (1, 2) else None for number in range(COUNT)
    }
    names = [(f"d{number}", name_of(number)) for number in range(COUNT)]
    assert sorted(found) == sorted((*it, folded[it[1]], composed[it[1]]) for it in names)
    assert sorted(titled) == sorted((*it, folded[it[1]]) for it in names)


@pytest.mark.parametrize("title", INVISIBLE)
def test_title_that_nobody_can_see_is_refused_by_rest(invisible: tuple[Rest, str], title: str) -> None:
    rest, made = invisible
    body = {**payload("create"), "title": title}
    for method, path in (("POST", "/dashboards"), ("PUT", f"/dashboards/{made}")):
        answer = rest.call(method, path, body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_ARGUMENT")
        assert answer.json()["violations"] == [
            {"field": "title", "description": "must hold a character that can be seen"}
        ]
    # The description leaves out what is beyond U+FFFF: not every JavaScript takes it.
    is_as_described = schema("NewDashboardRegistration").is_valid(body)
    assert is_as_described == any(char > "\uffff" for char in title)


@pytest.mark.parametrize("title", VISIBLE)
def test_title_with_a_visible_character_is_as_described(title: str) -> None:
    schema("NewDashboardRegistration").validate({**payload("create"), "title": title})
