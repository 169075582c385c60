"""What clients do at once with a kind of resource, and what explains it: one for each service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from random import Random

    from protobuf import DescService

    from tests.api import Reply
    from tests.history_checker import Call, Json, Model

    Do = Callable[[str, Json], Reply]
    """Does a call, again until it is answered, and takes note of it."""


class Calls(Protocol):
    """One client's random calls."""

    def next(self, title: str) -> tuple[str, Json]:
        """Return a method and a request; the title is this call's and no other's."""
        ...

    def learn(self, request: Json, answer: Json) -> None:
        """Take note of an answer: its etag goes into calls to come, stale by then or not."""
        ...


class Workload(Protocol):
    """The calls of a service that are made and explained."""

    service: DescService
    writes: Collection[str]
    """The methods that may have an effect though nobody knows their answer."""

    def begin(self, do: Do) -> None:
        """Make what has to be there first."""
        ...

    def calls(self, random: Random) -> Calls:
        """Return a client's calls."""
        ...

    def parts(self, call: Call) -> Mapping[str, Sequence[Call]]:
        """Return what a call is to each resource, without what no model can know."""
        ...

    def model(self, name: str, calls: Sequence[Call]) -> Model[Any]:
        """Return what explains the calls of a resource."""
        ...

    def read_all(self, name: str, dos: Sequence[Do]) -> Sequence[Call]:
        """Read all there is of a resource at last, each `do` through another server.

        Returns: What isn't a call, but stands for several.
        """
        ...


def walk(do: Do, method: str, name: str) -> list[Json]:
    """Read all pages of what there is of a resource."""
    pages = [do(method, {"id": name}).body]
    while token := pages[-1].get("nextPageToken"):
        pages.append(do(method, {"id": name, "pageToken": token}).body)
    return pages
