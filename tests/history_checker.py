"""Whether some order of whole calls explains what was answered: the search of Wing and Gong.

J. M. Wing and C. Gong, "Testing and Verifying Concurrent Objects", 1993; with the memory of states
that were tried, as G. Lowe, "Testing for linearizability", 2017. A history is linearizable if the
part of each object is, so each resource is searched apart. Nothing here knows of any kind of resource.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

State = TypeVar("State", bound="Hashable")

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a call answered: `code` is "ok" or the error's code."""

    code: str = "ok"
    body: Json = field(default_factory=dict[str, Any])
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of an error. A model names only what it knows of it."""

    def explains(self, found: Answer) -> bool:
        """Whether this, which a model expects, is what was found."""
        expected = (self.code, self.reason, self.body)
        return expected == (found.code, found.reason, found.body) and self.metadata.items() <= (
            found.metadata.items()
        )


@dataclass(frozen=True)
class Call:
    """A call of one object as its caller saw it."""

    method: str
    request: Json
    start: float
    end: float = math.inf
    answer: Answer | None = None
    """None where nobody knows: then it took effect at any time after its start, or never will."""

    def __str__(self) -> str:
        time = f"{self.start:.4f} to {self.end:.4f}"
        return f"{time} {self.method} {self.request}\n    answered {self.answer or 'nobody knows what'}"


class Model(Protocol[State]):
    """One object, used by one caller at a time."""

    def initial(self) -> State:
        """Return the state before every call."""
        ...

    def step(self, state: State, method: str, request: Json) -> Iterable[tuple[Answer, State]]:
        """Return what the call may answer in this state, with the state after it, equal if nothing changed.

        What a server is free to choose, such as an etag, is what somebody has seen of it. Nothing where
        the state after the call isn't one that somebody has seen in its place. Of outcomes with one
        answer, all change the state or none does.
        """
        ...


class UnexplainedError(AssertionError):
    """No order of whole calls explains what was answered."""


class Explanation(NamedTuple):
    """An order of whole calls that explains every answer."""

    order: Sequence[Call]
    """Without the calls that change nothing and whose answer nobody knows."""
    steps: int
    """How often the model was asked: the work of the search."""


class _Node(NamedTuple, Generic[State]):
    """Calls that have been put in order, and the state after them."""

    first: int
    """The index of the first known call, by its start, that isn't in the order."""
    done: int
    """The known calls in the order, a bit each."""
    unknown_done: int
    """The same of those whose answer nobody knows."""
    state: State
    order: tuple[Any, Call | None]
    """The order, last call first, as a linked list."""


def explain(calls: Sequence[Call], model: Model[State]) -> Explanation:
    """Return an order of the calls that keeps to their times and explains their answers.

    Raises:
        UnexplainedError: If there is none; it shows the longest order that was found, and why each call
            that could come next can't.
    """
    search = _Search(calls, model)
    stack = [iter([_Node(0, 0, 0, model.initial(), (None, None))])]
    seen: set[tuple[int, int, State]] = set()
    deepest: _Node[State] | None = None
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            continue
        node, following = search.settle(node)
        if node.first == len(search.known):
            return Explanation(_as_list(node), search.steps)
        if (key := (node.done, node.unknown_done, node.state)) in seen:
            continue
        seen.add(key)
        if deepest is None or node.done.bit_count() > deepest.done.bit_count():
            deepest = node
        stack.append(iter(following))
    assert deepest is not None
    raise UnexplainedError(search.describe(deepest))


class _Search(Generic[State]):
    def __init__(self, calls: Sequence[Call], model: Model[State]) -> None:
        self._model = model
        by_start = sorted(calls, key=lambda call: call.start)
        self.known = [call for call in by_start if call.answer is not None]
        self._unknown = [call for call in by_start if call.answer is None]
        self.steps = 0

    def settle(self, node: _Node[State]) -> tuple[_Node[State], list[_Node[State]]]:
        """Append every call that changes nothing and is explained now, and return what may follow.

        Nothing is lost by that: where such a call comes later in an order that explains all, it may as
        well come now, since the others don't notice.
        """
        while True:
            following: list[_Node[State]] = []
            settled = node
            for index in self._next_known(node):
                call = self.known[index]
                for after in self._step(node.state, call):
                    if after == node.state:
                        settled = self._with_known(settled, index, after)
                    else:
                        following.append(self._with_known(node, index, after))
            if settled is node:
                return node, following + list(self._with_unknown(node))
            node = settled

    def _next_known(self, node: _Node[State]) -> Iterator[int]:
        """Give the calls that no other call, yet to be put in order, came before."""
        horizon = math.inf
        for index in range(node.first, len(self.known)):
            if node.done >> index & 1:
                continue
            if self.known[index].start > horizon:
                return
            horizon = min(horizon, self.known[index].end)
            yield index

    def _step(self, state: State, call: Call) -> Iterator[State]:
        """Give the states that may be there after the call; none if it can't come in this state."""
        self.steps += 1
        for answer, after in self._model.step(state, call.method, call.request):
            if call.answer is None or answer.explains(call.answer):
                yield after

    def _with_known(self, node: _Node[State], index: int, after: State) -> _Node[State]:
        done, first = node.done | 1 << index, node.first
        while done >> first & 1:
            first += 1
        return _Node(first, done, node.unknown_done, after, (node.order, self.known[index]))

    def _with_unknown(self, node: _Node[State]) -> Iterator[_Node[State]]:
        """Give the nodes in which one of the calls whose answer nobody knows took effect."""
        horizon = min((self.known[index].end for index in self._next_known(node)), default=math.inf)
        for index, call in enumerate(self._unknown):
            if node.unknown_done >> index & 1 or call.start > horizon:
                continue
            for after in self._step(node.state, call):
                if after != node.state:
                    done = node.unknown_done | 1 << index
                    yield _Node(node.first, node.done, done, after, (node.order, call))

    def describe(self, node: _Node[State]) -> str:
        order = _as_list(node)
        lines = [
            f"no order of {len(self.known)} calls explains their answers; that of {len(order)} ends with",
            *(f"  {call}" for call in order[-5:]),
            "after which none of these can come:",
        ]
        for index in self._next_known(node):
            call = self.known[index]
            answers = [str(answer) for answer, _ in self._model.step(node.state, call.method, call.request)]
            expected = " or ".join(answers) or "a state that others saw otherwise"
            lines.append(f"  {call}\n    expected {expected}")
        return "\n".join(lines)


def _as_list(node: _Node[Any]) -> list[Call]:
    calls: list[Call] = []
    rest, call = node.order
    while call is not None:
        calls.append(call)
        rest, call = rest
    return calls[::-1]
