"""Which registrations a place shows, and every other filter of List: compared with a plain model of them."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashkeeper.gen.registrations.v1.changes_pb import DeleteRequest
from dashkeeper.gen.registrations.v1.registration_pb import Scope
from dashkeeper.gen.registrations.v1.registrations_pb import ListRequest
from tests.contents import PROFILE
from tests.registrations import BUILDERS, HOME, SEGMENTS, create, done, listed, put_content, register, service
from tests.stores import CTX, make_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashkeeper.services.registrations import Registrations
    from dashkeeper.store.sql.store import SQLStore
    from tests.api import Api
    from tests.tiles import Json

# The rule, place by place: what is registered, and the places that show it.
PLACES: dict[str, Json] = {
    "anywhere": {},
    "home": {"scope": HOME},
    "segments": {"scope": SEGMENTS},
    "segment 1": {"scope": SEGMENTS, "segmentId": "1"},
    "segment 2": {"scope": SEGMENTS, "segmentId": "2"},
    "builders": {"scope": BUILDERS},
    "builder 1": {"scope": BUILDERS, "builderId": "1"},
}
TABLE: dict[str, tuple[Json, set[str]]] = {
    "nowhere": ({"scopes": []}, set()),
    "home alone": ({"scopes": [HOME]}, {"home"}),
    "each segment": ({"scopes": [SEGMENTS]}, {"segments", "segment 1", "segment 2"}),
    "one segment": ({"scopes": [SEGMENTS], "segmentIds": ["1"]}, {"segments", "segment 1"}),
    "two segments": (
        {"scopes": [SEGMENTS, HOME], "segmentIds": ["2", "1"]},
        {"segments", "segment 1", "segment 2", "home"},
    ),
    "another segment": ({"scopes": [SEGMENTS], "segmentIds": ["3"]}, {"segments"}),
    "each builder": ({"scopes": [BUILDERS]}, {"builders", "builder 1"}),
    "another builder": ({"scopes": [BUILDERS], "builderIds": ["2"]}, {"builders"}),
    "builder 1, each segment": (
        {"scopes": [BUILDERS, SEGMENTS], "builderIds": ["1"]},
        {"builders", "builder 1", "segments", "segment 1", "segment 2"},
    ),
}


def test_each_place_shows_what_is_registered_for_it(registrations: Api) -> None:
    for title, (fields, _) in TABLE.items():
        register(registrations, title=title, **fields)
    for place, request in PLACES.items():
        found = {it["title"] for it in listed(registrations, **request)}
        assert found == {
            title for title, (_, shown) in TABLE.items() if place in shown or place == "anywhere"
        }


@pytest.mark.parametrize(
    ("request_", "bad"),
    [
        ({"segmentId": "1"}, "segment_id"),
        ({"segmentId": "1", "scope": BUILDERS}, "segment_id"),
        ({"builderId": "1"}, "builder_id"),
        ({"builderId": "1", "scope": HOME}, "builder_id"),
    ],
)
def test_place_of_another_scope_is_refused(one_registrations: Api, request_: Json, bad: str) -> None:
    reply = one_registrations.call("List", {"organisationId": "org", **request_})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", [bad])


# Any registrations, and any place


@dataclass
class Registered:
    """What the model knows of a registration."""

    title: str
    scopes: list[Scope]
    segment_ids: list[str]
    builder_ids: list[str]
    archived: bool
    of_community: bool
    has_content: bool
    deleted: bool
    id: str = field(default="", compare=False)


LETTERS = "aAßsSİ\u0131i%_\\/é\U0001f600\uffff 'x"
texts = st.text(LETTERS, max_size=4)
place_ids: st.SearchStrategy[str] = st.sampled_from(("1", "2", "S", "s", "%"))
lists: st.SearchStrategy[list[str]] = st.lists(place_ids, max_size=2, unique=True)


@st.composite
def registered(draw: st.DrawFn) -> Registered:
    scopes = draw(st.lists(st.sampled_from(list(Scope)[1:]), max_size=3, unique=True))
    return Registered(
        title="t" + draw(texts),
        scopes=scopes,
        segment_ids=draw(lists) if Scope.SEGMENTS in scopes else [],
        builder_ids=draw(lists) if Scope.BUILDERS in scopes else [],
        archived=draw(st.sampled_from((False, False, True))),
        of_community=draw(st.booleans()),
        has_content=draw(st.booleans()),
        deleted=draw(st.sampled_from((False, False, False, True))),
    )


@st.composite
def queries(draw: st.DrawFn) -> dict[str, Any]:
    scope = draw(st.sampled_from(list(Scope)))
    query: dict[str, Any] = {
        "scope": scope,
        "include_community": draw(st.booleans()),
        "title_contains": draw(st.just("") | st.text(LETTERS, max_size=2)),
        "show_deleted": draw(st.booleans()),
        "include_content": draw(st.booleans()),
    }
    if (archived := draw(st.sampled_from((None, False, True)))) is not None:
        query["archived"] = archived
    if scope in (Scope.SEGMENTS, Scope.BUILDERS) and draw(st.booleans()):
        query["segment_id" if scope == Scope.SEGMENTS else "builder_id"] = draw(place_ids)
    return query


def is_shown(it: Registered, query: dict[str, Any]) -> bool:
    """The rules of the list, as they are written down."""
    archived = query.get("archived", False if query["include_content"] else None)
    in_scope = query["scope"] == Scope.UNSPECIFIED or query["scope"] in it.scopes
    in_place = all(
        asked not in query or not ids or query[asked] in ids
        for asked, ids in (("segment_id", it.segment_ids), ("builder_id", it.builder_ids))
    )
    return (
        (not it.of_community or query["include_community"])
        and in_scope
        and in_place
        and (archived is None or it.archived == archived)
        and query["title_contains"].casefold() in it.title.casefold()
        and (not it.deleted or query["show_deleted"])
        and (it.has_content or not query["include_content"])
    )


@pytest.fixture
def runner(url: str) -> Iterator[tuple[asyncio.Runner, SQLStore]]:
    """A store and the loop that it runs on: an example is no coroutine."""
    with asyncio.Runner() as loop:
        store = make_store(url)
        yield loop, store
        loop.run(store.close())


EXAMPLES = itertools.count()


@settings(
    PROFILE,
    max_examples=12,
    suppress_health_check=(*PROFILE.suppress_health_check, HealthCheck.function_scoped_fixture),
)
@given(
    made=st.lists(registered(), min_size=1, max_size=6), asked=st.lists(queries(), min_size=20, max_size=20)
)
def test_any_query_of_any_registrations_answers_what_the_model_does(
    runner: tuple[asyncio.Runner, SQLStore],
    project_id: str,
    made: list[Registered],
    asked: list[dict[str, Any]],
) -> None:
    loop, store = runner
    api = service(store, f"{project_id}-{next(EXAMPLES)}")
    loop.run(write(api, made))
    for query in asked:
        request = ListRequest(organisation_id="org", community_id="community", include_total=True, **query)
        page = loop.run(api.list(request, CTX))
        expected = sorted(
            (it for it in made if is_shown(it, query)), key=lambda it: (it.title.encode(), it.id)
        )
        assert [it.id for it in page.registrations] == [it.id for it in expected], query
        assert page.total_size == len(expected)
        shown = [it.dashboard_content_id for it in page.registrations] if query["include_content"] else []
        assert [it.id for it in page.content_wrappers] == shown
        titles = [it.content.sections[0].title for it in page.content_wrappers if it.content]
        assert titles == [it.title for it in expected if shown]


async def write(api: Registrations, made: list[Registered]) -> None:
    for it in made:
        created = await create(
            api,
            title=it.title,
            scopes=it.scopes,
            segment_ids=it.segment_ids,
            builder_ids=it.builder_ids,
            archived=it.archived,
            organisation_id="community" if it.of_community else "org",
        )
        it.id = created.id
        if it.has_content:
            await put_content(api, it.id, it.title)
        if it.deleted:
            await api.delete(DeleteRequest(id=it.id), CTX)


# The community


def test_community_of_an_organisation_without_registration_must_be_named(registrations: Api) -> None:
    own = register(registrations, organisationId="community")
    request: Json = {"organisationId": "new", "includeCommunity": True}
    reply = registrations.call("List", request)
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["community_id"])
    assert listed(registrations, **request, communityId="community") == [own]
    assert listed(registrations, **request, communityId="unknown") == []
    assert listed(registrations, organisationId="new") == []
    mine = register(registrations, organisationId="new", title="B")
    assert listed(registrations, **request) == [own, mine]
    assert listed(registrations, organisationId="new", communityId="community") == [mine]
    for include in (True, False):
        reply = registrations.call("List", request | {"communityId": "another", "includeCommunity": include})
        assert (reply.code, reply.reason) == ("invalid_argument", "ORGANISATION_NOT_ON_COMMUNITY")
        assert list(reply.violations) == ["community_id"]


def test_community_itself_is_listed_once_and_without_its_organisations(registrations: Api) -> None:
    own = register(registrations, organisationId="community")
    register(registrations, organisationId="org")
    register(registrations, organisationId="other")
    found = done(
        registrations, "List", organisationId="community", includeCommunity=True, includeTotal=True
    ).body
    assert (found["registrations"], found["totalSize"]) == ([own], 1)


def test_organisations_differ_by_case_and_blanks(one_registrations: Api) -> None:
    made = {name: register(one_registrations, organisationId=name) for name in ("org", "Org", "org ", "ORG")}
    for name, registration in made.items():
        assert listed(one_registrations, organisationId=name) == [registration]
