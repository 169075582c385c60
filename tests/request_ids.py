"""What a request id does to any write of any resource, told naively from the protos."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from tests.history_checker import Answer, Json, Model

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator

Inner = TypeVar("Inner", bound="Hashable")


class _Answered(NamedTuple):
    """What a write under a request id was, and what it answered."""

    request: str
    answer: str


class Remembered(NamedTuple, Generic[Inner]):
    """The state of a resource, and what its writes answered."""

    inner: Inner
    answers: frozenset[tuple[tuple[str, str], _Answered]] = frozenset()
    """By method and request id."""


class WithRequestIds(Generic[Inner]):
    """A model whose writes take a request id: implements Model."""

    def __init__(self, model: Model[Inner], writes: Collection[str]) -> None:
        self._model = model
        self._writes = writes
        self._answered: defaultdict[tuple[str, str], set[_Answered]] = defaultdict(set)

    def initial(self) -> Remembered[Inner]:
        """See Model."""
        return Remembered(self._model.initial())

    def step(
        self, state: Remembered[Inner], method: str, request: Json
    ) -> Iterator[tuple[Answer, Remembered[Inner]]]:
        """See Model."""
        request_id = request.get("requestId", "").lower() if method in self._writes else ""
        key = (method, request_id)
        said = _text({name: value for name, value in request.items() if name != "requestId"})
        if request_id:
            for answered in self._answered[key]:  # in any order that was tried
                if (key, answered) in state.answers:
                    is_same = answered.request == said
                    yield Answer(body=json.loads(answered.answer)) if is_same else _REUSED, state
                    return
        for answer, inner in self._model.step(state.inner, method, request):
            answers = state.answers
            if request_id and answer.code == "ok" and not request.get("validateOnly"):
                answered = _Answered(said, _text(answer.body))
                self._answered[key].add(answered)
                answers |= {(key, answered)}
            yield answer, Remembered(inner, answers)


_REUSED = Answer("invalid_argument", reason="REQUEST_ID_REUSED")


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
