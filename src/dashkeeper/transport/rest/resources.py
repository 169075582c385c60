"""What each REST call does: the RPC that it stands for, and the conditions of HTTP around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from protobuf.wkt import FieldMask

from dashkeeper.errors import NotFoundError, Violation, changed_since_read, no_registration
from dashkeeper.gen.registrations.v1.changes_pb import CreateRequest, DeleteRequest, UpdateRequest
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from dashkeeper.gen.registrations.v1.contents_pb import GetContentRequest, UpdateContentRequest
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
from dashkeeper.gen.registrations.v1.registrations_pb import GetRequest, ListRequest
from dashkeeper.transport.rest import dialect, headers
from dashkeeper.transport.rest.paths import InOwnTermsError
from dashkeeper.transport.rest.reader import read
from dashkeeper.transport.rest.writer import write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protobuf import Message
    from starlette.datastructures import Headers

    from dashkeeper.methods import Context
    from dashkeeper.pipeline import Call, Pipeline

DEFAULT_RESULTS = 50
MAX_RESULTS = 500
_MAX_PAGES = 4
"""Of the RPC's pages, cut at 3.5 MiB each, that one answer is made of: what a list takes is bounded."""

_IF_MATCH, _IF_NONE_MATCH = "If-Match", "If-None-Match"


@dataclass(slots=True, eq=False)
class Exchange:
    """One call, admitted and read, and the way to the services."""

    pipeline: Pipeline
    call: Call
    ctx: Context
    headers: Headers
    id: str
    """From the path; empty on routes without one."""
    query: Mapping[str, Any]
    body: bytes

    async def perform(self, request: Message) -> Any:
        """Call the service's method that takes this request."""
        return await self.pipeline.perform(self.call, self.ctx, request)


@dataclass(slots=True)
class Answer:
    """What is answered: no content stands for no body."""

    status: int = 200
    content: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])


async def list_registrations(exchange: Exchange) -> Answer:
    """Answer one page, made of as many pages of the RPC as it takes."""
    query = exchange.query
    max_results = query.get("max_results", DEFAULT_RESULTS)
    if not 1 <= max_results <= MAX_RESULTS:
        raise InOwnTermsError.of([Violation(("max_results",), f"must be from 1 to {MAX_RESULTS}")])
    request = ListRequest(
        organisation_id=query.get("organisation_id", ""),
        community_id=query.get("community_id", ""),
        include_community=query.get("include_community", False),
        scope=query.get("scope"),
        segment_id=query.get("segment_id", ""),
        builder_id=query.get("builder_id", ""),
        archived=query.get("archived"),
        title_contains=query.get("keywords", ""),
        skip=query.get("first_result", 0),
        page_size=max_results,
        include_total=True,
    )
    page = await exchange.perform(request)
    found, total = [*page.registrations], page.total_size
    for _ in range(_MAX_PAGES - 1):
        if not page.next_page_token or len(found) >= max_results:
            break
        request.page_token, request.page_size = page.next_page_token, max_results - len(found)
        request.skip, request.include_total = 0, False
        page = await exchange.perform(request)
        found += page.registrations
    return Answer(
        content={
            "status": "ok",
            "count": len(found),
            "total": total,
            "first_result": query.get("first_result", 0),
            "max_results": max_results,
            "data": [write(registration) for registration in found],
        }
    )


async def create_registration(exchange: Exchange) -> Answer:
    """Make a registration."""
    given = read(
        exchange.body,
        DashboardRegistration,
        mandatory=dialect.WRITABLE | dialect.FIXED,
        ignored=dialect.READ_ONLY,
    )
    reply = await exchange.perform(
        CreateRequest(
            title=given.title,
            scopes=given.scopes,
            segment_ids=given.segment_ids,
            builder_ids=given.builder_ids,
            archived=given.archived,
            dashboard_content_id=given.dashboard_content_id,
            organisation_id=given.organisation_id,
            community_id=given.community_id,
            request_id=headers.request_id(exchange.headers),
            change_message=headers.change_message(exchange.headers),
        )
    )
    answer = _one(reply.registration, reply.registration.etag)
    answer.status = 201
    # Relative to the path that was called, which a proxy may have under a prefix of its own.
    answer.headers["location"] = f"dashboards/{quote(reply.registration.id, safe='')}"
    return answer


async def get_registration(exchange: Exchange) -> Answer:
    """Answer a registration."""
    registration = (await exchange.perform(GetRequest(id=exchange.id))).registration
    _check_organisation(exchange, registration.organisation_id)
    return _read(exchange, registration, registration.etag)


async def update_registration(exchange: Exchange) -> Answer:
    """Replace what of a registration can be written."""
    _refuse_if_none_match(exchange)
    given = read(exchange.body, DashboardRegistration, mandatory=dialect.WRITABLE, ignored=dialect.READ_ONLY)
    asked = exchange.query.get("organisation_id")
    if asked is not None and given.organisation_id and asked != given.organisation_id:
        description = "is another one in the query than in the body: send one of them"
        raise InOwnTermsError.of([Violation(("organisation_id",), description)])
    current = await _current(exchange, needed=bool(given.organisation_id or given.community_id))
    if current is not None:
        _check_fixed(given, current)
    reply = await _write(
        exchange,
        UpdateRequest(
            id=exchange.id,
            title=given.title,
            scopes=given.scopes,
            segment_ids=given.segment_ids,
            builder_ids=given.builder_ids,
            archived=given.archived,
            dashboard_content_id=given.dashboard_content_id,
            update_mask=FieldMask(paths=["*"]),
        ),
        current,
    )
    return _one(reply.registration, reply.registration.etag)


async def delete_registration(exchange: Exchange) -> Answer:
    """Delete a registration."""
    _refuse_if_none_match(exchange)
    await _write(exchange, DeleteRequest(id=exchange.id), await _current(exchange))
    return Answer(content={"status": "ok", "data": {}})


async def get_content(exchange: Exchange) -> Answer:
    """Answer the current content of a registration."""
    wrapper = (await exchange.perform(GetContentRequest(id=exchange.id))).content_wrapper
    _check_organisation(exchange, wrapper.organisation_id)
    return _read(exchange, wrapper, wrapper.id)


async def update_content(exchange: Exchange) -> Answer:
    """Replace the content of a registration."""
    content = read(exchange.body, DashboardContent)
    condition = headers.tags(exchange.headers, _IF_NONE_MATCH)
    if condition is not None and not condition.any:
        raise InOwnTermsError.of([Violation((_IF_NONE_MATCH,), "must be * here")])
    request = UpdateContentRequest(id=exchange.id, content=content, must_be_first=condition is not None)
    reply = await _write(exchange, request, await _current(exchange))
    return _one(reply.content_wrapper, reply.content_wrapper.id)


def _one(resource: Message, etag: str) -> Answer:
    return Answer(content={"status": "ok", "data": write(resource)}, headers={"etag": f'"{etag}"'})


def _read(exchange: Exchange, resource: Message, etag: str) -> Answer:
    """Answer a resource, if the conditions say so (RFC 9110 §13.2.2)."""
    wanted = headers.tags(exchange.headers, _IF_MATCH)
    if wanted is not None and not wanted.any and etag not in wanted.strong:
        raise changed_since_read("registration", exchange.id, etag)
    known = headers.tags(exchange.headers, _IF_NONE_MATCH)
    if known is not None and (known.any or etag in (*known.strong, *known.weak)):
        return Answer(304, headers={"etag": f'"{etag}"'})
    return _one(resource, etag)


async def _current(exchange: Exchange, *, needed: bool = False) -> DashboardRegistration | None:
    """Read the registration that is to be written, where something must be known of it first.

    Nothing of it that matters here can change before the write: organisation and community are
    fixed, and an etag is passed on to the write.
    """
    tags = headers.tags(exchange.headers, _IF_MATCH)
    is_compared_here = tags is not None and len(tags.own) != 1
    if not (needed or is_compared_here or "organisation_id" in exchange.query):
        return None
    try:
        current = (await exchange.perform(GetRequest(id=exchange.id))).registration
    except NotFoundError:
        if headers.request_id(exchange.headers):
            return None  # it may be a repeated DELETE: the write knows
        raise
    _check_organisation(exchange, current.organisation_id)
    return current


async def _write(
    exchange: Exchange,
    request: UpdateRequest | DeleteRequest | UpdateContentRequest,
    current: DashboardRegistration | None,
) -> Any:
    """Call the method that writes, if the etag is one of those in If-Match (RFC 9110 §13.1.1).

    Args:
        exchange: The call.
        request: The request, without what the call's headers say.
        current: What `_current` read, if it had to.
    """
    is_content = isinstance(request, UpdateContentRequest)
    kind = "the content of registration" if is_content else "registration"
    etag = ""
    if current is not None:
        etag = current.dashboard_content_id if is_content else current.etag
    request.request_id = headers.request_id(exchange.headers)
    request.change_message = headers.change_message(exchange.headers)
    tags = headers.tags(exchange.headers, _IF_MATCH)
    if tags is not None and len(tags.strong) > 1 and request.request_id:
        # Repeated, it would be resolved otherwise, and be another request.
        raise InOwnTermsError.of([Violation((_IF_MATCH,), "must hold one tag beside Idempotency-Key")])
    if tags is None or (tags.any and (etag or current is None)):  # what isn't there at all fails by itself
        return await exchange.perform(request)
    if tags.own:  # the current one, or any other, which the method refuses
        request.etag = etag if etag in tags.own else tags.own[0]
        return await exchange.perform(request)
    # No etag can be in it: refused for that, if it isn't for something else (RFC 9110 §13.2.1).
    request.etag, request.validate_only = etag, True
    await exchange.perform(request)
    raise changed_since_read(kind, exchange.id, etag)


def _refuse_if_none_match(exchange: Exchange) -> None:
    if headers.tags(exchange.headers, _IF_NONE_MATCH) is not None:
        description = "is only for reading, and for PUT of a content: use If-Match"
        raise InOwnTermsError.of([Violation((_IF_NONE_MATCH,), description)])


def _check_organisation(exchange: Exchange, organisation_id: str) -> None:
    asked = exchange.query.get("organisation_id")
    if asked is not None and asked != organisation_id:
        raise no_registration(exchange.id)


def _check_fixed(given: DashboardRegistration, current: DashboardRegistration) -> None:
    problems = [
        Violation((name,), "was fixed when the registration was created: send it as it is, or leave it out")
        for name in sorted(dialect.FIXED)
        if getattr(given, name) and getattr(given, name) != getattr(current, name)
    ]
    if problems:
        raise InOwnTermsError.of(problems)
