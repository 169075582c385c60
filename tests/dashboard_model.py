"""One dashboard as one caller at a time sees it, told naively from the specification and the protos.

Requests and answers are ProtoJSON. Nothing here is taken from the implementation. What a server is
free to choose (etags, times, ids of tiles) is what the answers show of it: since the revisions of a
dashboard count its changes, whatever its etag, a revision has one state for ever.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from tests.history_checker import Answer, Call, Json, UnexplainedError
from tests.reconcile_model import ModelTile, Place, model_reconcile
from tests.tiles import as_answered, time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WRITES = ("Create", "Update", "Upsert", "Delete", "Undelete", "Restore")

PURGE_AFTER = timedelta(days=30)

_CONTENT = ("name", "description", "labels", "tiles")
_NOT_FOUND = Answer("not_found", reason="DASHBOARD_NOT_FOUND")
_NO_REVISION = Answer("not_found", reason="REVISION_NOT_FOUND")
_EXISTS = Answer("already_exists", reason="DASHBOARD_EXISTS")


@dataclass(frozen=True, eq=False)
class Revision:
    """One of the dashboard's states, and what the history says of it."""

    dashboard: Json
    entry: Json


State = tuple[Revision, ...]
"""A dashboard with all its past."""


class _Change(NamedTuple):
    """A write's outcome: the new content, and what becomes of which tile."""

    content: Json
    changes: Json | None = None


class DashboardModel:
    """DashboardsService with one dashboard, one project and one subject."""

    def __init__(self, dashboard_id: str, calls: Sequence[Call], *, subject: str = "tester") -> None:
        """Learn what the server chose.

        Raises:
            UnexplainedError: If one revision was seen in two states, or one etag on two revisions.
        """
        self._id = dashboard_id
        self._subject = subject
        self._seen = _Seen(calls)
        self._revisions: dict[str, Revision] = {}

    def initial(self) -> State:
        """See Model."""
        return ()

    def step(self, state: State, method: str, request: Json) -> Sequence[tuple[Answer, State]]:
        """See Model."""
        if method not in WRITES:
            return [(self._read(state, method, request), state)]
        outcome = self._write(state, method, request)
        if outcome is None:
            return []
        answer, revision = outcome
        if request.get("validateOnly"):
            return [(without_unforeseeable(answer), state)]
        return [(answer, state if revision is None else (*state, revision))]

    def _read(self, revisions: State, method: str, request: Json) -> Answer:
        current = revisions[-1].dashboard if revisions else None
        match method:
            case "Get":
                return _NOT_FOUND if _is_gone(current) else Answer(body={"dashboard": current})
            case "List":
                is_shown = current is not None and (request.get("showDeleted") or not _is_gone(current))
                return Answer(body={"dashboards": [without_tiles(current or {})] if is_shown else []})
            case "GetRevision":
                number = int(request["revision"])
                if number > len(revisions):
                    return _NO_REVISION
                return Answer(body={"dashboard": revisions[number - 1].dashboard})
            case "ListRevisions":
                if not revisions:
                    return _NOT_FOUND
                newest_first = [revision.entry for revision in reversed(revisions)]
                return Answer(body={"revisions": newest_first[: request.get("pageSize") or 100]})
            case _:
                raise ValueError(method)

    def _write(self, revisions: State, method: str, request: Json) -> tuple[Answer, Revision | None] | None:
        """Return the answer and the new revision, if there is one; None where that was seen otherwise."""
        current = revisions[-1].dashboard if revisions else None
        number = len(revisions) + 1
        change = self._change(revisions, method, request)
        if isinstance(change, Answer):
            return change, None
        begins = current is None or (_is_gone(current) and method != "Undelete")
        content = {name: value for name, value in change.content.items() if name in _CONTENT and value}
        changed = {name: ids for name, ids in (change.changes or {}).items() if ids}
        is_same = (
            current is not None
            and not _is_gone(current)
            and method != "Delete"
            and content == {name: value for name, value in current.items() if name in _CONTENT}
        )
        if is_same:
            assert current is not None
            return self._answer(method, current, changed), None
        etag, now = self._seen.choice(number, current)
        dashboard: Json = {
            **content,
            "id": self._id,
            "createdAt": now if begins or current is None else current["createdAt"],
            "createdBy": self._subject if begins or current is None else current["createdBy"],
            "updatedAt": now,
            "updatedBy": self._subject,
            "etag": etag,
            "revision": str(number),
        }
        if content.get("tiles"):
            dashboard["tileCount"] = len(content["tiles"])
        if request.get("validateOnly"):
            return self._answer(method, _preview(dashboard, current), changed), None
        if method == "Delete":
            dashboard |= {"deletedAt": now, "purgeAt": later(now, PURGE_AFTER)}
        entry = {
            "revision": str(number),
            "etag": etag,
            "createdAt": now,
            "createdBy": self._subject,
            "changeMessage": request.get("changeMessage", ""),
            "kind": f"REVISION_KIND_{method.upper()}",
            "name": dashboard["name"],
        }
        entry = {name: value for name, value in entry.items() if value}
        entry["changes"] = {name: ids for name, ids in changed.items() if name != "unchanged"}
        if not self._seen.allows(number, dashboard, entry, current):
            return None
        return self._answer(method, dashboard, changed), self._revision(dashboard, entry)

    def _change(self, revisions: State, method: str, request: Json) -> _Change | Answer:
        """Return what the write makes of the content, or the error that it ends with."""
        current = revisions[-1].dashboard if revisions else None
        if (refusal := _refusal(current, method, request)) is not None:
            return refusal
        if method in {"Create", "Upsert"}:
            stored = {} if current is None or _is_gone(current) else current
            content = request if method == "Create" else stored or {"name": request["name"]}
            return self._with_tiles(stored, request, len(revisions) + 1, content)
        assert current is not None
        match method:
            case "Update":
                return _Change(current | {path: request.get(path) for path in _paths(request)})
            case "Restore":
                if int(request["revision"]) > len(revisions):
                    return _NO_REVISION
                old = revisions[int(request["revision"]) - 1].dashboard
                _, changes = model_reconcile(_tiles(current), _tiles(old), iter(()))
                return _Change(old, vars(changes))
            case _:
                return _Change(current)

    def _with_tiles(self, current: Json, request: Json, number: int, content: Json) -> _Change | Answer:
        """Return the content with the request's tiles, if as many may go as have to."""
        stored, sent = _tiles(current), _tiles(as_answered(request))
        known = {tile.id for tile in (*stored, *sent)}
        new_ids = itertools.repeat("")
        if not request.get("validateOnly"):
            new_ids = itertools.chain(self._seen.tile_ids(number, known), itertools.count(1))
        tiles, changes = model_reconcile(stored, sent, (str(tile_id) for tile_id in new_ids))
        most = request.get("maxDeletions")
        if most is not None and len(changes.deleted) > most:
            metadata = {"deletions": str(len(changes.deleted)), "tile_ids": ",".join(changes.deleted)}
            return Answer("failed_precondition", reason="TOO_MANY_DELETIONS", metadata=metadata)
        return _Change({**content, "tiles": [_tile(tile) for tile in tiles]}, vars(changes))

    def _answer(self, method: str, dashboard: Json, changes: Json) -> Answer:
        match method:
            case "Delete":
                return Answer()
            case "Upsert":
                return Answer(body={"dashboard": dashboard, "changes": changes})
            case _:
                return Answer(body={"dashboard": dashboard})

    def _revision(self, dashboard: Json, entry: Json) -> Revision:
        """Return the same object for the same revision: it is compared often."""
        return self._revisions.setdefault(_text([dashboard, entry]), Revision(dashboard, entry))


class _Seen:
    """What answers show of each revision."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._headers: dict[int, Json] = {}
        self._tiles: dict[int, list[Json]] = {}
        self._entries: dict[int, Json] = {}
        for call in calls:
            if call.answer is None or call.answer.code != "ok" or call.request.get("validateOnly"):
                continue
            body = call.answer.body
            for dashboard in [body["dashboard"]] if "dashboard" in body else body.get("dashboards", []):
                number = int(dashboard["revision"])
                _note(self._headers, number, without_tiles(dashboard))
                if call.method != "List":
                    _note(self._tiles, number, dashboard.get("tiles", []))
            for entry in body.get("revisions", []):
                _note(self._entries, int(entry["revision"]), entry)
        etags = [header["etag"] for header in self._headers.values()]
        if len(set(etags)) < len(etags):
            raise UnexplainedError(f"two revisions have one etag: {sorted(etags)}")

    def choice(self, number: int, current: Json | None) -> tuple[str, str]:
        """Return the etag and the time that the server chose for a revision; placeholders if unseen."""
        if (header := self._headers.get(number)) is not None:
            return header["etag"], header["updatedAt"]
        if (entry := self._entries.get(number)) is not None:
            return entry["etag"], entry["createdAt"]
        return f"unseen {number}", current["updatedAt"] if current is not None else "0001-01-01T00:00:00Z"

    def tile_ids(self, number: int, known: set[str]) -> list[str]:
        """Return the ids that the server made up for a revision, in the order of the tiles."""
        return [tile["id"] for tile in self._tiles.get(number, []) if tile["id"] not in known]

    def allows(self, number: int, dashboard: Json, entry: Json, before: Json | None) -> bool:
        """Whether nobody saw this revision otherwise, or before the one before it."""
        return (
            self._headers.get(number, without_tiles(dashboard)) == without_tiles(dashboard)
            and self._tiles.get(number, dashboard.get("tiles", [])) == dashboard.get("tiles", [])
            and self._entries.get(number, entry) == entry
            and (before is None or time(before["updatedAt"]) <= time(dashboard["updatedAt"]))
        )


def without_unforeseeable(answer: Answer) -> Answer:
    """Leave out of what validate_only answers when a dashboard that is yet to begin would begin."""
    if "dashboard" not in answer.body:
        return answer
    dashboard = {name: value for name, value in answer.body["dashboard"].items() if name != "createdAt"}
    return replace(answer, body={**answer.body, "dashboard": dashboard})


def without_tiles(dashboard: Json) -> Json:
    """Return a dashboard as List answers it."""
    return {name: value for name, value in dashboard.items() if name != "tiles"}


def _note(seen: dict[int, Json] | dict[int, list[Json]], number: int, found: Json | list[Json]) -> None:
    known: Mapping[int, object] = seen
    if known.get(number, found) != found:
        raise UnexplainedError(f"revision {number} was seen as\n  {known[number]}\nand as\n  {found}")
    seen[number] = found  # pyright: ignore[reportArgumentType] # of the same kind


def _is_gone(dashboard: Json | None) -> bool:
    return dashboard is None or "deletedAt" in dashboard


def _preview(dashboard: Json, current: Json | None) -> Json:
    """Return what validate_only answers: the present etag, revision and updated_at, none for a new one."""
    present = ("etag", "revision", "updatedAt")
    shown = {name: value for name, value in dashboard.items() if name not in present}
    return shown | {name: current[name] for name in present if current}


def _refusal(current: Json | None, method: str, request: Json) -> Answer | None:
    """Return the error that the write ends with, whatever it is to change."""
    etag = request.get("etag", "")
    if method == "Create":
        return None if _is_gone(current) else _EXISTS
    if method == "Upsert" and _is_gone(current) and request.get("allowMissing"):
        return Answer("aborted", reason="ETAG_MISMATCH") if etag else None
    if current is None or (_is_gone(current) and method != "Undelete"):
        return _NOT_FOUND
    if etag and etag != current["etag"]:
        return Answer("aborted", reason="ETAG_MISMATCH", metadata={"current_etag": current["etag"]})
    return _EXISTS if method == "Undelete" and not _is_gone(current) else None


def _paths(request: Json) -> Sequence[str]:
    """Return the fields that an Update changes."""
    updatable = ("name", "description", "labels")
    mask = request.get("updateMask", "")
    if mask == "*":
        return updatable
    return mask.split(",") if mask else [path for path in updatable if request.get(path)]


def later(moment: str, days: timedelta) -> str:
    """Return the time of a Timestamp as JSON, some days later."""
    return (date.fromisoformat(moment[:10]) + days).isoformat() + moment[10:]


def _tiles(dashboard: Json) -> list[ModelTile]:
    return [
        ModelTile(
            tile.get("id", ""),
            Place(tile["position"].get("x", 0), tile["position"].get("y", 0)),
            (
                _text({name: value for name, value in tile.items() if name not in {"id", "position"}}),
                tile["position"]["w"],
                tile["position"]["h"],
            ),
        )
        for tile in dashboard.get("tiles", [])
    ]


def _tile(tile: ModelTile) -> Json:
    text, width, height = tile.rest
    position = {"x": tile.place.x, "y": tile.place.y, "w": width, "h": height}
    return as_answered({"id": tile.id, "position": position, **json.loads(str(text))})


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
