"""One organisation and what it registered, as one caller at a time sees it, from the specification alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.history_checker import Answer, Call, Json, UnexplainedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_OUTPUT = ("id", "createdTs", "createdBy", "lastModifiedTs", "lastModifiedBy", "etag")


class State(NamedTuple):
    """The community that an organisation is on, and the titles that it registered."""

    community_id: str = ""
    titles: frozenset[str] = frozenset()


class OrganisationModel:
    """Create and List with one organisation; each Create has a title of its own."""

    def __init__(self, organisation_id: str, calls: Sequence[Call]) -> None:
        """Learn what the server chose.

        Raises:
            UnexplainedError: If a registration was seen twice.
        """
        self._refused = Answer(
            "invalid_argument",
            reason="ORGANISATION_NOT_ON_COMMUNITY",
            metadata={"organisation_id": organisation_id},
        )
        self._seen: dict[str, Json] = {}
        for call in calls:
            if call.answer is None or call.request.get("validateOnly"):
                continue
            body = call.answer.body
            for found in [body["registration"]] if "registration" in body else body.get("registrations", []):
                title = found["title"]
                if self._seen.setdefault(title, found) != found:
                    raise UnexplainedError(f"{title} was seen as\n  {self._seen[title]}\nand as\n  {found}")

    def initial(self) -> State:
        """See Model."""
        return State()

    def step(self, state: State, method: str, request: Json) -> Sequence[tuple[Answer, State]]:
        """See Model."""
        if method == "List":
            listed = sorted(
                (self._seen[title] for title in state.titles), key=lambda it: (it["title"].encode(), it["id"])
            )
            return [(Answer(body={"registrations": listed} if listed else {}), state)]
        if state.community_id not in ("", request["communityId"]):
            return [(self._refused, state)]
        if method == "Check":
            return [(Answer(), state)]
        asked = {name: request[name] for name in ("title", "organisationId", "communityId")}
        if request.get("validateOnly"):
            shown = {**asked, "createdBy": "tester", "lastModifiedBy": "tester"}
            return [(Answer(body={"registration": shown}), state)]
        seen = self._seen.get(request["title"])
        if seen is None or {name: value for name, value in seen.items() if name not in _OUTPUT} != asked:
            return []  # not in the list at the end: it never was
        after = State(request["communityId"], state.titles | {request["title"]})
        return [(Answer(body={"registration": seen}), after)]
