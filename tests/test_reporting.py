"""An exception that nobody foresaw, in what serves HTTP: told as one of the pipeline is."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from dashkeeper.pipeline import Pipeline
from dashkeeper.transport.reporting import Reporting
from tests.api import connect_error

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HEADERS = {"x-request-id": "mine"}


def get(*events: dict[str, Any]) -> httpx.Response:
    """Ask an application that sends these events and then fails."""

    async def failing(_scope: Scope, _receive: Receive, send: Send) -> None:
        for event in events:
            await send(event)
        raise RuntimeError("SELECT secret")

    async def ask() -> httpx.Response:
        pipeline = Pipeline(cast("Any", None), [], max_request_bytes=1)  # nobody is to be authenticated
        transport = httpx.ASGITransport(Reporting(failing, pipeline))
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            return await client.get("/healthz", headers=HEADERS)

    return asyncio.run(ask())


def test_exception_before_the_answer_is_an_internal_error_with_the_request_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "dashkeeper")
    answer = get()
    reply = connect_error(answer.content, dict(answer.headers))
    assert (answer.status_code, reply.code, reply.message) == (500, "internal", "internal error")
    assert reply.request_id == answer.headers["x-request-id"] == "mine"
    assert "secret" not in answer.text
    calls = [record.__dict__ for record in caplog.records if record.name == "dashkeeper.calls"]
    assert [(call["request_id"], call["code"]) for call in calls] == [("mine", "internal")]
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


def test_exception_within_the_answer_is_left_to_the_http_server() -> None:
    with pytest.raises(RuntimeError):
        get({"type": "http.response.start", "status": 200, "headers": []})
