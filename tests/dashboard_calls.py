"""Random calls on a few dashboards, for many clients to do at once."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.dashboard_model import without_unforeseeable
from tests.history_checker import Answer, Call, Json
from tests.tiles import insight, markdown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

DASHBOARDS = ("a", "b", "c")

_SHARES = {
    "Get": 20,
    "List": 6,
    "GetRevision": 6,
    "ListRevisions": 6,
    "Create": 8,
    "Update": 22,
    "Upsert": 24,
    "Delete": 8,
    "Undelete": 12,
    "Restore": 12,
}
"""How often each method is called, among each other."""


class DashboardCalls:
    """One client's calls: few values, so that calls meet, and repeat what is there already."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last_seen: dict[str, Json] = {}

    def learn(self, answer: Json) -> None:
        """Take note of an answer: its etag goes into calls to come, stale by then or not."""
        if (dashboard := answer.get("dashboard", {})).get("etag"):
            self._last_seen[dashboard["id"]] = dashboard

    def next(self, title: str) -> tuple[str, Json]:
        """Return a method and a request; the title is this call's and no other's."""
        random, chance = self._random, self._random.random
        (method,) = random.choices([*_SHARES], [*_SHARES.values()])
        name = random.choice(DASHBOARDS)
        seen = self._last_seen.get(name, {"etag": "never one", "revision": "1"})
        match method:
            case "List":
                return method, {"showDeleted": chance() < 0.7}
            case "Get":
                return method, {"id": name}
            case "ListRevisions":
                return method, {"id": name, "pageSize": random.randint(1, 20)}
            case "GetRevision":
                return method, {"id": name, "revision": self._revision(seen)}
            case "Create":
                request: Json = {"dashboardId": name, "name": title, "tiles": self._tiles()}
            case "Update":
                request = {"id": name, **self._update()}
            case "Upsert":
                request = {"dashboardId": name, "tiles": self._tiles()}
                request |= {"allowMissing": True, "name": title} if chance() < 0.4 else {}
                request |= {"maxDeletions": random.randint(0, 1)} if chance() < 0.2 else {}
            case "Restore":
                request = {"id": name, "revision": self._revision(seen)}
            case _:
                request = {"id": name}
        if method != "Create" and chance() < 0.35:
            request["etag"] = seen["etag"]
        if chance() < 0.7:
            request["changeMessage"] = title
        if chance() < 0.12:
            request["validateOnly"] = True
        if chance() < 0.4:
            request["requestId"] = str(uuid.UUID(int=random.getrandbits(128), version=4))
        return method, request

    def _revision(self, seen: Json) -> str:
        """Return a revision's number, now and then of one that is just being made."""
        last = int(seen["revision"])
        return str(last + 1 if self._random.random() < 0.25 else self._random.randint(1, last))

    def _update(self) -> Json:
        number = self._random.randint(0, 3)
        return self._random.choice(
            [
                {"name": f"name {number}"},
                {"description": f"description {number}", "labels": {"by": str(number)}},
                {"description": f"description {number}", "updateMask": "description,labels"},
                {"name": f"name {number}", "updateMask": "*"},
            ]
        )

    def _tiles(self) -> list[Json]:
        random = self._random
        names = random.sample(["", "t1", "t2", "t3", "", "t4"], random.randint(0, 4))
        makers = (markdown, insight)
        return [random.choice(makers)(name, random.choice("xy"), y=random.randint(0, 2)) for name in names]


def by_dashboard(call: Call) -> Mapping[str, Call]:
    """Return what a call is to each dashboard, without what no model can know.

    List is a read of each, there or not: that they are read at one moment, no specification promises.
    """
    if call.method != "List":
        answer = call.answer
        if answer is not None:
            body = {name: value for name, value in answer.body.items() if name != "nextPageToken"}
            answer = replace(answer, body=body)
            if call.request.get("validateOnly"):
                answer = without_unforeseeable(answer)
        return {call.request.get("dashboardId") or call.request["id"]: replace(call, answer=answer)}
    assert call.answer is not None
    found: Mapping[str, list[Json]] = {name: [] for name in DASHBOARDS}
    for dashboard in call.answer.body.get("dashboards", []):
        found[dashboard["id"]].append(dashboard)
    return {
        name: replace(call, answer=Answer(call.answer.code, {"dashboards": listed}))
        for name, listed in found.items()
    }
