"""Registrations and contents for tests, as ProtoJSON; RegistrationsService without any transport."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dashkeeper.auth import Caller
from dashkeeper.gen.registrations.v1.changes_pb import CreateRequest
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.services.registration_changes import RegistrationLimits
from dashkeeper.services.registrations import Registrations
from tests.api import Api
from tests.server import make_token
from tests.stores import CTX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
    from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
    from dashkeeper.store.base import Store
    from tests.api import Reply
    from tests.server import RunningServer
    from tests.tiles import Json

HOME, SEGMENTS, BUILDERS = "SCOPE_HOME", "SCOPE_SEGMENTS", "SCOPE_BUILDERS"
ORGANISATION, COMMUNITY = "org", "community"
NEW: Json = {"title": "A", "scopes": [HOME], "organisationId": ORGANISATION, "communityId": COMMUNITY}
MAX_CONTENT_BYTES = 3_670_016  # 3.5 MiB
MAX_IDS_BYTES = 409_600  # 400 KiB


def client(
    server: RunningServer, project_id: str, transport: str = "grpc", subject: str = "tester", **claims: Any
) -> Api:
    """Return a client of RegistrationsService; close it."""
    token = make_token(project_id, subject=subject, **claims)
    return Api(server, transport, token, project_id, RegistrationsService.desc())


def ids_of_400_kib() -> Json:
    """Return the lists of ids of a registration, as large as they may be: 409,600 bytes serialised."""
    long = [chr(0x1F400 + number) + "\U0001f4c8" * 127 for number in range(795)]  # 512 bytes and 3 each
    return {
        "scopes": [SEGMENTS, BUILDERS],
        "segmentIds": long[:400],
        "builderIds": [*long[400:], "\U0001f4c8" * 43],
    }


def content(title: str = "Users") -> Json:
    """Return a content of one section with one chart, as it is answered."""
    dataset = {"activitiesAnalytics": {"queryJson": {"metrics": [{"expression": "users"}]}}}
    chart = {"title": "Users", "type": "CHART_TYPE_METRIC", "dataset": dataset}
    return {"sections": [{"title": title, "cards": [{"w": 4, "h": 2, "charts": [chart]}]}]}


def done(api: Api, method: str, **request: Any) -> Reply:
    """Call a method that must succeed."""
    reply = api.call(method, request)
    assert reply.code == "ok", reply
    return reply


def register(api: Api, **fields: Any) -> Json:
    """Create a registration and return it."""
    return done(api, "Create", **NEW | fields).registration


def show(api: Api, registration_id: str, title: str = "Users", **fields: Any) -> Json:
    """Give a registration a content with this title, and return the wrapper."""
    return done(api, "UpdateContent", id=registration_id, content=content(title), **fields).wrapper


def get(api: Api, registration_id: str) -> Json:
    """Return a registration that is there."""
    return done(api, "Get", id=registration_id).registration


def wrappers(api: Api, registration_id: str) -> list[Json]:
    """Return all kept contents of a registration, newest first."""
    found: list[Json] = []
    for page in pages(api, "ListContents", "contentWrappers", id=registration_id):
        found += page
    return found


def listed(api: Api, **request: Any) -> list[Json]:
    """Return the registrations that a single page of List holds."""
    return done(api, "List", **{"organisationId": ORGANISATION} | request).body.get("registrations", [])


def pages(api: Api, method: str, items: str, **request: Any) -> Iterator[list[Json]]:
    """Give page after page, until one has no token."""
    token, tokens = "", {""}
    while True:
        reply = done(api, method, **request, pageToken=token)
        yield reply.body.get(items, [])
        if not (token := reply.body.get("nextPageToken", "")):
            return
        assert token not in tokens, "the pages go round in a circle"
        tokens.add(token)


def service(
    store: Store, project_id: str, *, organisations: frozenset[str] | None = None, subject: str = "tester"
) -> Registrations:
    """Return RegistrationsService for one caller."""
    limits = RegistrationLimits(require_etag=False, purge_after=timedelta(0))
    caller = Caller(subject=subject, project_id=project_id, organisations=organisations)
    return Registrations(store, limits, caller)


async def create(api: Registrations, **fields: Any) -> DashboardRegistration:
    """Create a registration without any transport."""
    merged: dict[str, Any] = {
        "title": "A",
        "organisation_id": ORGANISATION,
        "community_id": COMMUNITY,
        **fields,
    }
    created = (await api.create(CreateRequest(**merged), CTX)).registration
    assert created is not None
    return created


def content_message(title: str = "Users") -> DashboardContent:
    """Return what `content` returns, as a message."""
    return DashboardContent.from_json(json.dumps(content(title)))


async def put_content(
    api: Registrations, registration_id: str, title: str = "Users", **fields: Any
) -> DashboardContentWrapper:
    """Give a registration a content without any transport."""
    request = UpdateContentRequest(id=registration_id, content=content_message(title), **fields)
    made = (await api.update_content(request, CTX)).content_wrapper
    assert made is not None
    return made
