"""One registration as one caller at a time sees it, told naively from the specification and the protos.

Requests and answers are ProtoJSON. Nothing here is taken from the implementation. What a server is
free to choose is what the answers show of it. The contents of a registration are numbered by their
last complete list; its other states have no number: which of those that were seen comes out of a
write is tried, in the order of their times.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from tests.dashboard_model import PURGE_AFTER, later
from tests.history_checker import Answer, Call, Json, UnexplainedError
from tests.tiles import time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

WRITES = ("Create", "Update", "Delete", "Undelete", "UpdateContent", "RestoreContent")

_UNSEEN = "unseen"
_CONTENT_ID = "dashboardContentId"
_UPDATABLE = ("title", "scopes", "segmentIds", "builderIds", "archived")
_CHOSEN = ("etag", "lastModifiedTs", "deletedAt", "purgeAt")
"""By the server."""
_NOT_FOUND = Answer("not_found", reason="REGISTRATION_NOT_FOUND")
_NO_CONTENT = Answer("not_found", reason="NO_CONTENT")
_CONTENT_NOT_FOUND = Answer("not_found", reason="CONTENT_NOT_FOUND")
_EXISTS = Answer("already_exists", reason="REGISTRATION_EXISTS")
_CONTENT_EXISTS = Answer("already_exists", reason="CONTENT_EXISTS")
_ETAG_REQUIRED = Answer("failed_precondition", reason="ETAG_REQUIRED")
_INVALID = Answer("invalid_argument", reason="INVALID_REQUEST")


class State(NamedTuple):
    """A registration with all its contents."""

    header: str
    """The registration, as JSON."""
    contents: int
    """How many there are."""
    modified: datetime
    """Not after its last modification, whose time may be unseen."""


class RegistrationModel:
    """RegistrationsService with one registration, one project and one subject."""

    def __init__(self, created: Json, calls: Sequence[Call], *, subject: str = "tester") -> None:
        """Begin with a registration as it was created, and learn what the server chose since.

        Raises:
            UnexplainedError: If one etag was seen on two states, or one content in two forms or in no list.
        """
        self._created = created
        self._subject = subject
        self._states = _SeenStates(created, calls)
        self._contents = _seen_contents(calls)
        self._numbers = {content["id"]: number for number, content in enumerate(self._contents)}
        self._headers: dict[str, Json] = {}

    def initial(self) -> State:
        """See Model."""
        return self._state(self._created, 0, time(self._created["lastModifiedTs"]))

    def step(self, state: State, method: str, request: Json) -> Iterable[tuple[Answer, State]]:
        """See Model. Of several errors, the server may answer any."""
        if method not in WRITES:
            return [(self._read(state, method, request), state)]
        if refusals := [*self._refusals(state, method, request)]:
            return [(refusal, state) for refusal in refusals]
        current = self._headers[state.header]
        if method in {"Delete", "Undelete"}:
            return self._written(state, method, request, _settled(current))
        if method == "Update":
            fields = _updated(current, request)
            restored = _names_older(current, request)
            if fields == _settled(current) and not restored:
                return [(Answer(body={"registration": current}), state)]
            content = self._contents[self._numbers[restored]]["content"] if restored else None
            return self._written(state, method, request, fields, content)
        content = request.get("content")
        if method == "RestoreContent":
            content = self._contents[self._numbers[request["contentId"]]]["content"]
        return self._written(state, method, request, _settled(current), content)

    def _read(self, state: State, method: str, request: Json) -> Answer:
        current = self._headers[state.header]
        is_gone = "deletedAt" in current
        contents = self._contents[: state.contents]
        if is_gone and method in {"Get", "GetContent"}:
            return _NOT_FOUND
        match method:
            case "Get":
                return Answer(body={"registration": current})
            case "GetContent":
                asked = request.get("contentId") or current.get(_CONTENT_ID, "")
                if not self._has(state, asked):
                    return _CONTENT_NOT_FOUND if asked else _NO_CONTENT
                return Answer(body={"contentWrapper": contents[self._numbers[asked]]})
            case "ListContents":
                newest_first = [without_content(content) for content in reversed(contents)]
                return _listing("contentWrappers", newest_first[: request.get("pageSize") or 100])
            case "List":
                is_listed = _is_listed(current, request)
                answer = _listing("registrations", [current] if is_listed else [])
                if is_listed and request.get("includeContent"):
                    answer.body["contentWrappers"] = contents[-1:]
                return answer
            case _:
                raise ValueError(method)

    def _refusals(self, state: State, method: str, request: Json) -> Iterator[Answer]:
        """Give the errors that the write may end with."""
        current = self._headers[state.header]
        if "deletedAt" in current and method != "Undelete":
            yield _NOT_FOUND
            return
        of_content = method in {"UpdateContent", "RestoreContent"}
        present = current.get(_CONTENT_ID, "") if of_content else current["etag"]
        etag = request.get("etag", "")
        if etag not in ("", present):
            metadata = {"current_etag": present} if present != _UNSEEN else {}
            yield Answer("aborted", reason="ETAG_MISMATCH", metadata=metadata)
        if method == "Undelete" and "deletedAt" not in current:
            yield _EXISTS
        if request.get("mustBeFirst") and _CONTENT_ID in current:
            yield _CONTENT_EXISTS
        if method == "RestoreContent" and not self._has(state, request["contentId"]):
            yield _CONTENT_NOT_FOUND
        if method == "Update":
            if restored := _names_older(current, request):
                if not etag:
                    yield _ETAG_REQUIRED
                if not self._has(state, restored):
                    yield _INVALID
            if not _fits_its_scopes(_updated(current, request)):
                yield _INVALID

    def _has(self, state: State, content_id: str) -> bool:
        return self._numbers.get(content_id, state.contents) < state.contents

    def _written(
        self, state: State, method: str, request: Json, fields: Json, content: Json | None = None
    ) -> Iterator[tuple[Answer, State]]:
        """Give what may come out of a write that changes something: the fields, or the content, or both."""
        current = self._headers[state.header]
        is_modified = fields != _settled(current) or method in {"Delete", "Undelete"}
        wrapper: Json = {}
        if content is not None:
            wrapper = {
                "content": content,
                "organisationId": current["organisationId"],
                "createdBy": self._subject,
                "changeMessage": request.get("changeMessage", ""),
            }
            wrapper = {name: value for name, value in wrapper.items() if value != ""}
        if request.get("validateOnly"):
            present = {name: current[name] for name in ("etag", "lastModifiedTs")}
            yield _answer(method, fields | present, wrapper), state
            return
        number = state.contents
        if wrapper:
            if number == len(self._contents):
                return  # nobody saw it in a list: it never was
            seen = self._contents[number]
            wrapper |= {"id": seen["id"], "createdTs": seen["createdTs"]}
            if wrapper != seen:
                return
            fields = {**fields, _CONTENT_ID: wrapper["id"]}
            number += 1
        moment = None if is_modified else current["lastModifiedTs"]
        is_gone = method == "Delete"
        for header, modified in self._states.choices(fields, state.modified, moment, is_gone=is_gone):
            yield _answer(method, header, wrapper), self._state(header, number, modified)

    def _state(self, header: Json, contents: int, modified: datetime) -> State:
        text = json.dumps(header, sort_keys=True)
        self._headers[text] = header
        return State(text, contents, modified)


class _SeenStates:
    """What answers show of each state of the registration itself."""

    def __init__(self, created: Json, calls: Sequence[Call]) -> None:
        self._headers = {created["etag"]: created}
        """By etag."""
        self._at: defaultdict[datetime, dict[str, str]] = defaultdict(dict)
        """By the time of the last modification: its etags, and the time as it is written."""
        for _, body in _answered(calls):
            for header in [body["registration"]] if "registration" in body else body.get("registrations", []):
                _note(self._headers, header["etag"], header)
        # A dry run shows the present etag and time, and else what isn't so.
        dry_runs = [body for _, body in _answered(calls, dry_runs=True)]
        previews = [body["registration"] for body in dry_runs if "registration" in body]
        for header in (*self._headers.values(), *previews):
            self._at[time(header["lastModifiedTs"])][header["etag"]] = header["lastModifiedTs"]
        self._moments = sorted(self._at)

    def choices(
        self, fields: Json, before: datetime, moment: str | None, *, is_gone: bool
    ) -> Iterator[tuple[Json, datetime]]:
        """Give what the next state may be, and what its time isn't before.

        Args:
            fields: What it says but for what the server chooses.
            before: What its time isn't before.
            moment: Its time, _UNSEEN where it stays one that nobody saw; None for the next.
            is_gone: Whether it is deleted.
        """
        if moment not in (None, _UNSEEN):
            moments = [time(moment)]
        else:  # each that was seen has its turn: the next one isn't passed over
            moments = [before, *[it for it in self._moments if it > before][:1]]
        is_seen = False
        for modified in moments:
            for etag, text in self._at.get(modified, {}).items():
                header = _complete(fields, etag, text, is_gone=is_gone)
                if self._headers.get(etag, header) == header:
                    is_seen |= etag in self._headers and moment not in (None, _UNSEEN)
                    yield header, modified
        if not is_seen:
            yield _complete(fields, _UNSEEN, moment or _UNSEEN, is_gone=is_gone), before


def _complete(fields: Json, etag: str, moment: str, *, is_gone: bool) -> Json:
    header = {**fields, "etag": etag, "lastModifiedTs": moment}
    if is_gone:
        purge_at = later(moment, PURGE_AFTER) if moment != _UNSEEN else _UNSEEN
        header |= {"deletedAt": moment, "purgeAt": purge_at}
    return header


def _answered(calls: Sequence[Call], *, dry_runs: bool = False) -> Iterator[tuple[str, Json]]:
    """Give the methods and the answers of the calls, either of dry runs or of all others."""
    for call in calls:
        if call.answer is not None and call.request.get("validateOnly", False) == dry_runs:
            yield call.method, call.answer.body


def _seen_contents(calls: Sequence[Call]) -> list[Json]:
    """Return the contents as answers show them, the oldest first.

    Raises:
        UnexplainedError: If one was seen in two forms, or in no list, or twice in one.
    """
    headers: dict[str, Json] = {}
    bodies: dict[str, Json] = {}
    ids: list[str] = []
    for method, body in _answered(calls):
        wrappers = body.get("contentWrappers", [])
        if method == "ListContents" and len(wrappers) > len(ids):
            ids = [wrapper["id"] for wrapper in reversed(wrappers)]
        for wrapper in [body["contentWrapper"]] if "contentWrapper" in body else wrappers:
            _note(headers, wrapper["id"], without_content(wrapper))
            if method != "ListContents":
                _note(bodies, wrapper["id"], wrapper["content"])
    if len(set(ids)) < len(ids) or (headers.keys() | bodies.keys()) != set(ids):
        raise UnexplainedError(f"contents were seen that no list holds, or twice: {ids} of {[*headers]}")
    return [{**headers[content_id], "content": bodies[content_id]} for content_id in ids]


def _note(seen: dict[str, Json], key: str, found: Json) -> None:
    if seen.setdefault(key, found) != found:
        raise UnexplainedError(f"{key} was seen as\n  {seen[key]}\nand as\n  {found}")


def without_content(wrapper: Json) -> Json:
    """Return a content as ListContents answers it."""
    return {name: value for name, value in wrapper.items() if name != "content"}


def _settled(header: Json) -> Json:
    """Return what the server doesn't choose."""
    return {name: value for name, value in header.items() if name not in _CHOSEN}


def _answer(method: str, header: Json, wrapper: Json) -> Answer:
    match method:
        case "Delete":
            return Answer()
        case "UpdateContent" | "RestoreContent":
            return Answer(body={"contentWrapper": wrapper})
        case _:
            return Answer(body={"registration": header})


def _listing(name: str, items: list[Json]) -> Answer:
    return Answer(body={name: items} if items else {})


def _mask(request: Json) -> Sequence[str]:
    return request["updateMask"].split(",") if request.get("updateMask") else ()


def _updated(current: Json, request: Json) -> Json:
    """Return what an Update makes of the fields, without the content."""
    mask = _mask(request)
    paths = _UPDATABLE if "*" in mask else mask or [path for path in _UPDATABLE if path in request]
    changed = {path: request.get(path) for path in paths if path != _CONTENT_ID}
    return {name: value for name, value in (_settled(current) | changed).items() if value}


def _names_older(current: Json, request: Json) -> str:
    """Return the content that an Update asks for, if that isn't the current one."""
    mask = _mask(request)
    asked = request.get(_CONTENT_ID, "")
    is_named = not mask or "*" in mask or _CONTENT_ID in mask
    return asked if is_named and asked != current.get(_CONTENT_ID) else ""


def _fits_its_scopes(fields: Json) -> bool:
    scopes = fields.get("scopes", [])
    return ("SCOPE_SEGMENTS" in scopes or not fields.get("segmentIds")) and (
        "SCOPE_BUILDERS" in scopes or not fields.get("builderIds")
    )


def _is_listed(current: Json, request: Json) -> bool:
    if "deletedAt" in current and not request.get("showDeleted"):
        return False
    if request.get("includeContent") and _CONTENT_ID not in current:
        return False
    archived = request.get("archived", False if request.get("includeContent") else None)
    if archived is not None and archived != current.get("archived", False):
        return False
    segment_ids = current.get("segmentIds")
    if "scope" in request and request["scope"] not in current.get("scopes", []):
        return False
    return "segmentId" not in request or not segment_ids or request["segmentId"] in segment_ids
