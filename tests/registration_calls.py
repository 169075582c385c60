"""Random calls on a few registrations and on new organisations, for many clients to do at once."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from tests.history_checker import Answer, Call, Json, Model
from tests.organisation_model import OrganisationModel
from tests.registration_model import WRITES, RegistrationModel
from tests.request_ids import WithRequestIds
from tests.workload import walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from tests.workload import Do

_REGISTRATIONS = 3
_ORGANISATION = "organisation"
"""That of the registrations that are created before."""

_SHARES = {
    "Get": 14,
    "GetContent": 14,
    "ListContents": 6,
    "List": 10,
    "UpdateContent": 24,
    "RestoreContent": 12,
    "Update": 24,
    "Delete": 4,
    "Undelete": 14,
    "Create": 12,
    "ListOrganisation": 5,
}
"""How often each method is called, among each other."""


class RegistrationCalls:
    """One client's calls: few values, so that calls meet, and repeat what is there already."""

    def __init__(self, random: Random, registration_ids: Sequence[str]) -> None:
        self._random = random
        self._registration_ids = registration_ids
        self._etags: defaultdict[str, str] = defaultdict(lambda: "never one")
        self._contents: defaultdict[str, deque[str]] = defaultdict(lambda: deque(["never one"], maxlen=4))
        """The last that were seen, by registration."""
        self._count = 0

    def learn(self, request: Json, answer: Json) -> None:
        """See Calls."""
        registration = answer.get("registration", {})
        if etag := registration.get("etag"):
            self._etags[registration["id"]] = etag
            self._note_content(registration["id"], registration.get("dashboardContentId", ""))
        for wrapper in [answer.get("contentWrapper", {}), *answer.get("contentWrappers", [])[::-1]]:
            if "id" in request and "id" in wrapper:
                self._note_content(request["id"], wrapper["id"])

    def _note_content(self, name: str, content_id: str) -> None:
        contents = self._contents[name]
        if content_id and content_id != contents[-1]:
            contents.append(content_id)

    def next(self, title: str) -> tuple[str, Json]:
        """See Calls."""
        random, chance = self._random, self._random.random
        (method,) = random.choices([*_SHARES], [*_SHARES.values()])
        name = random.choice(self._registration_ids)
        self._count += 1
        match method:
            case "List":
                return method, self._list()
            case "ListOrganisation":
                return "List", self._on_organisation()
            case "Get":
                return method, {"id": name}
            case "GetContent":
                asked = {"contentId": self._content_id(name)} if chance() < 0.5 else {}
                return method, {"id": name, **asked}
            case "ListContents":
                return method, {"id": name, "pageSize": random.randint(1, 20)}
            case "Create":
                community_id = random.choice(["c1", "c2"])
                request: Json = {**self._on_organisation(), "communityId": community_id, "title": title}
            case "Update":
                request = {"id": name, **self._update(name)}
            case "UpdateContent":
                request = {"id": name, "content": self._content()}
                request |= {"mustBeFirst": True} if chance() < 0.1 else {}
            case "RestoreContent":
                request = {"id": name, "contentId": self._content_id(name)}
            case _:
                request = {"id": name}
        if method in {"UpdateContent", "RestoreContent"} and chance() < 0.35:
            request["etag"] = self._contents[name][-1]
        elif method != "Create" and chance() < (0.8 if "dashboardContentId" in request else 0.35):
            request["etag"] = self._etags[name]
        if chance() < 0.7:
            request["changeMessage"] = title
        if chance() < 0.12:
            request["validateOnly"] = True
        if chance() < 0.4:
            request["requestId"] = str(uuid.UUID(int=random.getrandbits(128), version=4))
        return method, request

    def _on_organisation(self) -> Json:
        """Name an organisation: a new one every few calls, which the clients reach at about one time."""
        request = {"organisationId": f"organisation {self._count // 8 + self._random.randint(0, 1)}"}
        return request | ({"communityId": "c1"} if self._random.random() < 0.3 else {})

    def _list(self) -> Json:
        chance = self._random.random
        request: Json = {"organisationId": _ORGANISATION}
        request |= {"includeContent": True} if chance() < 0.7 else {}
        request |= {"showDeleted": True} if chance() < 0.5 else {}
        request |= {"archived": chance() < 0.5} if chance() < 0.2 else {}
        if chance() < 0.2:
            request |= {"scope": "SCOPE_SEGMENTS"} | ({"segmentId": "1"} if chance() < 0.5 else {})
        return request

    def _content_id(self, name: str) -> str:
        """Return the id of a content, now and then of another registration's."""
        if self._random.random() < 0.1:
            name = self._random.choice(self._registration_ids)
        return self._random.choice(self._contents[name])

    def _update(self, name: str) -> Json:
        random, number = self._random, str(self._random.randint(0, 3))
        request: Json = random.choice(
            [
                {"title": f"title {number}"},
                {"scopes": ["SCOPE_HOME"]},
                {"scopes": ["SCOPE_SEGMENTS", "SCOPE_HOME"], "segmentIds": [number]},
                {"scopes": ["SCOPE_HOME"], "updateMask": "scopes,segmentIds"},
                {"archived": random.random() < 0.3},
                {"title": f"title {number}", "updateMask": "*"},
                {"updateMask": "dashboardContentId"},
            ]
        )
        if random.random() < 0.35:
            request = {**request, "dashboardContentId": self._content_id(name)}
        return request

    def _content(self) -> Json:
        titles = self._random.choices("xyz", k=self._random.randint(0, 2))
        return {"sections": [{"title": title} for title in titles]} if titles else {}


class RegistrationWorkload:
    """Calls of RegistrationsService: implements Workload."""

    service = RegistrationsService.desc()
    writes = WRITES

    def __init__(self) -> None:
        self._created: dict[str, Json] = {}

    def begin(self, do: Do) -> None:
        """See Workload."""
        for _ in range(_REGISTRATIONS):
            request = {"organisationId": _ORGANISATION, "communityId": "c1", "title": "title 0"}
            created = do("Create", request).body["registration"]
            self._created[created["id"]] = created

    def calls(self, random: Random) -> RegistrationCalls:
        """See Workload."""
        return RegistrationCalls(random, [*self._created])

    def parts(self, call: Call) -> Mapping[str, Sequence[Call]]:
        """See Workload.

        List is a read of each: that they are read at one moment, no specification promises, nor that it
        is the moment when the organisation's community is looked up.
        """
        request = call.request
        if "id" in request:
            if request.get("pageToken"):
                return {}
            return {request["id"]: [_without_page_token(call)]}
        organisation_id = request["organisationId"]
        if call.method == "Create":
            return {} if organisation_id == _ORGANISATION else {organisation_id: [_without_time(call)]}
        assert call.answer is not None
        if organisation_id != _ORGANISATION:
            check = replace(call, method="Check")
            if call.answer.code != "ok":
                return {organisation_id: [check]}
            checks = [replace(check, answer=Answer())] if "communityId" in request else []
            return {organisation_id: [*checks, call]}
        return self._listed(call, call.answer)

    def _listed(self, call: Call, answer: Answer) -> Mapping[str, Sequence[Call]]:
        found: Mapping[str, Json] = {name: {} for name in self._created}
        registrations = answer.body.get("registrations", [])
        order = [(it["title"].encode(), it["id"]) for it in registrations]
        assert order == sorted(set(order)), f"the order is wrong: {order}"
        for registration in registrations:
            found[registration["id"]]["registrations"] = [registration]
        if call.request.get("includeContent"):
            wrappers = answer.body.get("contentWrappers", [])
            for registration, wrapper in zip(registrations, wrappers, strict=True):
                assert registration["dashboardContentId"] == wrapper["id"], "of another moment"
                found[registration["id"]]["contentWrappers"] = [wrapper]
        answers = {name: Answer(answer.code, body, answer.reason) for name, body in found.items()}
        return {name: [replace(call, answer=part)] for name, part in answers.items()}

    def model(self, name: str, calls: Sequence[Call]) -> Model[Any]:
        """See Workload."""
        if (created := self._created.get(name)) is not None:
            return WithRequestIds(RegistrationModel(created, calls), WRITES)
        return WithRequestIds(OrganisationModel(name, calls), WRITES)

    def read_all(self, name: str, dos: Sequence[Do]) -> Sequence[Call]:
        """See Workload. A deleted registration is brought back, so that its contents can be read."""
        for do in dos:
            do("List", {"organisationId": _ORGANISATION if name in self._created else name})
        if name not in self._created:
            return ()
        dos[0]("Undelete", {"id": name})
        for do in dos:
            do("List", {"organisationId": _ORGANISATION, "includeContent": True})
            do("Get", {"id": name})
        registration = dos[0]("Get", {"id": name}).body["registration"]
        start = time.monotonic()
        pages = walk(dos[-1], "ListContents", name)
        wrappers: list[Json] = [wrapper for page in pages for wrapper in page.get("contentWrappers", [])]
        ids = [wrapper["id"] for wrapper in wrappers]
        assert ids[:1] == [it for it in [registration.get("dashboardContentId")] if it], (
            "it points at another content"
        )
        for number, content_id in enumerate(ids):
            dos[number % len(dos)]("GetContent", {"id": name, "contentId": content_id})
        # All pages together are one list, since nobody writes any more.
        request = {"id": name, "pageSize": len(wrappers) + 1}
        return [
            Call("ListContents", request, start, time.monotonic(), Answer(body={"contentWrappers": wrappers}))
        ]


def _without_page_token(call: Call) -> Call:
    if call.answer is None:
        return call
    body = {name: value for name, value in call.answer.body.items() if name != "nextPageToken"}
    return replace(call, answer=replace(call.answer, body=body))


def _without_time(call: Call) -> Call:
    """Leave out when a registration that is yet to be created would have been."""
    if call.answer is None or not call.request.get("validateOnly") or call.answer.code != "ok":
        return call
    shown = {name: value for name, value in call.answer.body["registration"].items() if name != "createdTs"}
    return replace(call, answer=replace(call.answer, body={"registration": shown}))
