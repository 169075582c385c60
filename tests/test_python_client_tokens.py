"""The Python client's token: it is waited for as long as the call may take, and looked at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.python_client import run
from tests.server import make_token

if TYPE_CHECKING:
    from tests.server import RunningServer

SOURCES = [("blocking", "function"), ("asyncio", "function"), ("asyncio", "coroutine")]
LATE = "the token function gave no token before the call's deadline"
UNSENDABLE = "the token must be a JWT: a text of printable ASCII characters"
BAD_TOKENS = ["tök€n", "a\nb", "a b", "", "\u200b", "a\x7f", None, 7, "x" * 20 + "ß"]


@pytest.mark.parametrize(("kind", "source"), SOURCES)
def test_a_token_that_never_comes_ends_the_call_at_its_deadline(
    kind: str, source: str, sqlite_server: RunningServer, project_id: str
) -> None:
    """One that takes longer than any call may is asked for anew."""
    told = {"target": sqlite_server.grpc, "project_id": project_id, "source": source}
    found, asked = run("wait_for_a_token", kind, tokens=[make_token(project_id)], **told)
    (first_code, text, seconds), (second_code, _, _) = found
    assert (first_code, text) == ("DEADLINE_EXCEEDED", LATE)
    assert 0.4 <= seconds < 20
    assert (second_code, asked) == ("OK", 2)


@pytest.mark.parametrize(("kind", "source"), SOURCES)
def test_a_token_that_comes_late_is_there_for_a_later_call(
    kind: str, source: str, sqlite_server: RunningServer, project_id: str
) -> None:
    told = {"target": sqlite_server.grpc, "project_id": project_id, "source": source}
    found = run("wait_for_a_slow_token", kind, tokens=[make_token(project_id)], **told)
    assert found == [["DEADLINE_EXCEEDED", "OK"], 1]


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_told(
    kind: str, sqlite_server: RunningServer, project_id: str
) -> None:
    """The next call asks its function again."""
    told = {"target": sqlite_server.grpc, "project_id": project_id}
    found = run("send_bad_tokens", kind, tokens=[*BAD_TOKENS, make_token(project_id)], **told)
    texts = sum(isinstance(token, str) for token in BAD_TOKENS)
    refused = ["UNAUTHENTICATED", UNSENDABLE]
    assert found == [refused] * texts + [[*refused, "OK"]] * len(BAD_TOKENS)


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_a_token_function_that_raises_stop_iteration_fails_its_call_at_once(
    kind: str, sqlite_server: RunningServer, project_id: str
) -> None:
    """No future of asyncio takes that exception: the call waited for its deadline, and asyncio logged it."""
    found = run("run_out_of_tokens", kind, target=sqlite_server.grpc, project_id=project_id, timeout=15)
    assert found == ["RuntimeError", "the token function raised StopIteration"]
