"""The rules of where a registration is shown: its scopes and its ids must fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashkeeper.errors import Violation
from dashkeeper.gen.registrations.v1.registration_pb import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def place_problems(
    scopes: Sequence[Scope], segment_ids: Sequence[str], builder_ids: Sequence[str]
) -> Iterator[Violation]:
    """Find ids of places that no scope includes: they would have no effect."""
    for field, ids, scope in (
        ("segment_ids", segment_ids, Scope.SEGMENTS),
        ("builder_ids", builder_ids, Scope.BUILDERS),
    ):
        if ids and scope not in scopes:
            yield Violation((field,), f"must be empty without SCOPE_{scope.name} among the scopes")


def repetitions(
    scopes: Sequence[Scope], segment_ids: Sequence[str], builder_ids: Sequence[str]
) -> Iterator[Violation]:
    """Find what stands twice in one of the lists."""
    lists: tuple[tuple[str, Sequence[object]], ...] = (
        ("scopes", scopes),
        ("segment_ids", segment_ids),
        ("builder_ids", builder_ids),
    )
    for field, values in lists:
        first_with: dict[object, int] = {}
        for index, value in enumerate(values):
            if (first := first_with.setdefault(value, index)) != index:
                yield Violation((field, index), f"is the same as {field}[{first}]: leave one out")
