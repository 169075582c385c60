"""Random calls on a few dashboards, for many clients to do at once."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from tests.dashboard_model import WRITES, DashboardModel, without_unforeseeable
from tests.history_checker import Answer, Call, Json, Model
from tests.request_ids import WithRequestIds
from tests.tiles import insight, markdown
from tests.workload import walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from tests.workload import Do

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

    def learn(self, request: Json, answer: Json) -> None:
        """See Calls."""
        if (dashboard := answer.get("dashboard", {})).get("etag"):
            self._last_seen[dashboard["id"]] = dashboard

    def next(self, title: str) -> tuple[str, Json]:
        """See Calls."""
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


class DashboardWorkload:
    """Calls of DashboardsService: implements Workload."""

    service = DashboardsService.desc()
    writes = WRITES

    def begin(self, do: Do) -> None:
        """See Workload. The calls create the dashboards."""

    def calls(self, random: Random) -> DashboardCalls:
        """See Workload."""
        return DashboardCalls(random)

    def parts(self, call: Call) -> Mapping[str, Sequence[Call]]:
        """See Workload.

        List is a read of each, there or not: that they are read at one moment, no specification promises.
        """
        if call.request.get("pageToken"):
            return {}
        if call.method != "List":
            answer = call.answer
            if answer is not None:
                body = {name: value for name, value in answer.body.items() if name != "nextPageToken"}
                answer = replace(answer, body=body)
                if call.request.get("validateOnly"):
                    answer = without_unforeseeable(answer)
            return {call.request.get("dashboardId") or call.request["id"]: [replace(call, answer=answer)]}
        assert call.answer is not None
        found: Mapping[str, list[Json]] = {name: [] for name in DASHBOARDS}
        for dashboard in call.answer.body.get("dashboards", []):
            found[dashboard["id"]].append(dashboard)
        return {
            name: [replace(call, answer=Answer(call.answer.code, {"dashboards": listed}))]
            for name, listed in found.items()
        }

    def model(self, name: str, calls: Sequence[Call]) -> Model[Any]:
        """See Workload."""
        return WithRequestIds(DashboardModel(name, calls), WRITES)

    def read_all(self, name: str, dos: Sequence[Do]) -> Sequence[Call]:
        """Read a dashboard and its history on both servers, and every revision on one or the other."""
        for do in dos:
            do("Get", {"id": name})
            do("List", {"showDeleted": True})
        pages = walk(dos[0], "ListRevisions", name)
        numbers = [int(revision["revision"]) for page in pages for revision in page.get("revisions", [])]
        assert numbers == list(range(len(numbers), 0, -1)), "revisions have a gap or a double"
        for number in range(1, len(numbers) + 2):
            dos[number % len(dos)]("GetRevision", {"id": name, "revision": str(number)})
        return ()
