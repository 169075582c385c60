"""Programs of the Python client's users, which tests run where the client is installed and the server isn't.

    python -P tests/python_client_programs.py PROGRAM blocking|asyncio '{"argument": "as JSON"}'

Each line that a program prints is JSON; the last one is what it returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

import dashkeeper_client
import dashkeeper_client.aio
from dashkeeper_client import error_details
from dashkeeper_client.channel import is_local
from dashkeeper_client.gen.dashboards.v1 import changes_pb2, dashboards_pb2, history_pb2
from dashkeeper_client.gen.dashboards.v1.tile_pb2 import TILE_TYPE_MARKDOWN, MarkdownTile, Position, Tile
from dashkeeper_client.gen.dashboards.v1.upsert_pb2 import UpsertRequest
from dashkeeper_client.gen.registrations.v1 import changes_pb2 as registration_changes_pb2
from dashkeeper_client.gen.registrations.v1 import contents_pb2, registrations_pb2
from dashkeeper_client.gen.registrations.v1.content_pb2 import DashboardContent, Section

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator


@contextlib.asynccontextmanager
async def connected(kind: str, target: str, **arguments: Any) -> AsyncGenerator[Any]:
    """Give the client of either kind; calls are made by `call`."""
    if "certificate" in arguments:
        with open(arguments.pop("certificate"), "rb") as file:  # noqa: ASYNC230, PTH123 # nothing else runs
            arguments["credentials"] = grpc.ssl_channel_credentials(file.read())
    if kind == "asyncio":
        async with dashkeeper_client.aio.connect(target, **arguments) as client:
            yield client
    else:
        with dashkeeper_client.connect(target, **arguments) as client:
            yield client


async def call(method: Callable[..., Any], request: Any, **arguments: Any) -> Any:
    """Make a call, blocking or not."""
    answer = method(request, **arguments)
    return await answer if inspect.isawaitable(answer) else answer


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 # how a program answers


def text_tile(tile_id: str, content: str) -> Tile:
    return Tile(
        id=tile_id,
        type=TILE_TYPE_MARKDOWN,
        position=Position(w=1, h=1),
        markdown=MarkdownTile(content=content),
    )


def outcome(error: grpc.RpcError) -> dict[str, Any]:
    found = error_details(error)
    return {
        "code": found.code.name,
        "reason": found.reason,
        "etag": found.current_etag,
        "violations": dict(found.violations),
        "has_request_id": bool(found.request_id),
        "message": found.message,
    }


async def attempt(method: Callable[..., Any], request: Any, **arguments: Any) -> dict[str, Any]:
    """Make a call that may fail, and return what is known of the error."""
    try:
        await call(method, request, **arguments)
    except grpc.RpcError as error:
        return outcome(error)
    return {"code": "OK"}


async def every_rpc(kind: str, target: str, **arguments: Any) -> list[str]:
    """Call every RPC once; return those that the services have beyond that."""
    async with connected(kind, target, **arguments) as client:
        d, r = client.dashboards, client.registrations
        made = (
            await call(d.Create, changes_pb2.CreateRequest(dashboard_id="growth", name="Growth"))
        ).dashboard
        assert made.created_at.ToDatetime(UTC) <= datetime.now(UTC)
        await call(
            d.Update,
            changes_pb2.UpdateRequest(id="growth", name="Goals", update_mask=FieldMask(paths=["name"])),
        )
        upsert = UpsertRequest(dashboard_id="growth", tiles=[text_tile("a", "# Goals")])
        assert (await call(d.Upsert, upsert)).changes.created == ["a"]
        assert [found.id for found in (await call(d.List, dashboards_pb2.ListRequest())).dashboards] == [
            "growth"
        ]
        await call(d.Delete, changes_pb2.DeleteRequest(id="growth"))
        await call(d.Undelete, changes_pb2.UndeleteRequest(id="growth"))
        listed = await call(d.ListRevisions, history_pb2.ListRevisionsRequest(id="growth"))
        assert [revision.revision for revision in listed.revisions] == [5, 4, 3, 2, 1]
        await call(d.GetRevision, history_pb2.GetRevisionRequest(id="growth", revision=1))
        await call(d.Restore, history_pb2.RestoreRequest(id="growth", revision=2))
        read = (await call(d.Get, dashboards_pb2.GetRequest(id="growth"))).dashboard
        assert (read.name, list(read.tiles)) == ("Goals", [])

        create = registration_changes_pb2.CreateRequest(
            title="Sales", organisation_id="acme", community_id="c"
        )
        made = (await call(r.Create, create)).registration
        await call(r.Update, registration_changes_pb2.UpdateRequest(id=made.id, title="Sales, all"))
        content = DashboardContent(sections=[Section(title="First")])
        first = await call(r.UpdateContent, contents_pb2.UpdateContentRequest(id=made.id, content=content))
        await call(r.UpdateContent, contents_pb2.UpdateContentRequest(id=made.id, content=DashboardContent()))
        restore = contents_pb2.RestoreContentRequest(id=made.id, content_id=first.content_wrapper.id)
        await call(r.RestoreContent, restore)
        read = await call(r.GetContent, contents_pb2.GetContentRequest(id=made.id))
        assert read.content_wrapper.content == content
        listed = await call(r.ListContents, contents_pb2.ListContentsRequest(id=made.id))
        assert len(listed.content_wrappers) == 3
        await call(r.Delete, registration_changes_pb2.DeleteRequest(id=made.id))
        await call(r.Undelete, registration_changes_pb2.UndeleteRequest(id=made.id))
        assert (
            await call(r.Get, registrations_pb2.GetRequest(id=made.id))
        ).registration.title == "Sales, all"
        listed = await call(r.List, registrations_pb2.ListRequest(organisation_id="acme"))
        assert [found.id for found in listed.registrations] == [made.id]
    return [
        name for name in sys.modules if name.partition(".")[0] in {"dashkeeper", "connectrpc", "protobuf"}
    ]


async def read_past_expiry(
    kind: str, target: str, tokens: list[str], expires_at: float, **arguments: Any
) -> list[Any]:
    """Read before and after the first token expires; return the outcomes, and the tokens' places as asked."""
    asked: list[int] = []

    def token() -> str:
        asked.append(min(len(asked), len(tokens) - 1))
        return tokens[asked[-1]]

    async def awaited_token() -> str:
        return token()

    source = awaited_token if kind == "asyncio" else token
    outcomes: list[str] = []
    request = dashboards_pb2.ListRequest()
    async with connected(kind, target, token=source, **arguments) as client:
        outcomes += [(await attempt(client.dashboards.List, request))["code"] for _ in range(3)]
        await asyncio.sleep(expires_at - time.time())
        outcomes += [(await attempt(client.dashboards.List, request))["code"] for _ in range(3)]
    return [outcomes, asked]


async def read_with_futures(kind: str, target: str, tokens: list[str], **arguments: Any) -> list[str]:
    """Call by `future`, at first with a stale token, until a call is answered."""
    outcomes: list[str] = []
    async with connected(kind, target, token=lambda: tokens.pop(0), **arguments) as client:
        while "OK" not in outcomes and len(outcomes) < 10:
            outcomes.append(client.dashboards.List.future(dashboards_pb2.ListRequest()).code().name)
    return outcomes


async def names(kind: str, target: str, **arguments: Any) -> list[str]:
    """Return the names of the project's dashboards, in the order in which they were made."""
    async with connected(kind, target, **arguments) as client:
        listed = await call(client.dashboards.List, dashboards_pb2.ListRequest())
        return [dashboard.name for dashboard in listed.dashboards]


async def write(kind: str, target: str, count: int, size: int, **arguments: Any) -> float:
    """Make dashboards, whose ids the server makes up; return the seconds that the longest write took."""
    longest = 0.0
    tiles = [text_tile(f"tile-{place}", "." * (size // 50)) for place in range(50)]
    async with connected(kind, target, timeout=60, **arguments) as client:
        for number in range(count):
            begun = time.monotonic()
            request = changes_pb2.CreateRequest(name=f"{kind} {number}", tiles=tiles)
            await call(client.dashboards.Create, request)
            longest = max(longest, time.monotonic() - begun)
            say(number)
    return longest


async def write_on_a_signal(kind: str, target: str, **arguments: Any) -> None:
    """Make a dashboard, and another one after a line was read."""
    async with connected(kind, target, **arguments) as client:
        await call(client.dashboards.Create, changes_pb2.CreateRequest(name="first"))
        say("ready")
        sys.stdin.readline()
        await call(client.dashboards.Create, changes_pb2.CreateRequest(name="second"))


async def write_after_a_cancelled_write(_: str, target: str, **arguments: Any) -> None:
    """Give up a write while the server is away, and make another one when it is back."""
    async with dashkeeper_client.aio.connect(target, **arguments) as client:
        create = client.dashboards.Create
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await create(changes_pb2.CreateRequest(name="cancelled"))
        say("cancelled")
        sys.stdin.readline()
        await create(changes_pb2.CreateRequest(name="wanted"))


async def send_what_cannot_be_sent(_: str, target: str, **arguments: Any) -> str:
    """Return what a call raises that gRPC refuses to send."""
    async with dashkeeper_client.aio.connect(target, **arguments) as client:
        try:
            await asyncio.wait_for(client.dashboards.List(dashboards_pb2.ListRequest()), 10)
        except Exception as error:  # noqa: BLE001 # to be named
            return type(error).__name__
    return "nothing"


async def call_when_closed(_: str, target: str, **arguments: Any) -> str:
    """Return what a call raises after `close`."""
    with dashkeeper_client.connect(target, **arguments) as client:
        pass
    try:
        client.dashboards.List(dashboards_pb2.ListRequest())
    except ValueError as error:
        return str(error)
    return "nothing"


async def write_the_same_message_twice(kind: str, target: str, **arguments: Any) -> list[Any]:
    """Use a message for two writes, then one with a request id of its own."""
    async with connected(kind, target, **arguments) as client:
        create = client.dashboards.Create
        request = changes_pb2.CreateRequest(name="Growth")
        ids = {(await call(create, request)).dashboard.id for _ in range(2)}
        own = changes_pb2.CreateRequest(name="Growth", request_id="7d0a3e1e-4c9c-4a43-9d6b-5f8f1f0c2b11")
        own_ids = {(await call(create, own)).dashboard.id for _ in range(2)}
    return [len(ids), request.request_id, len(own_ids)]


async def deadlines(kind: str, target: str, **arguments: Any) -> list[Any]:
    """Call a server that doesn't answer, with the client's deadline and with the call's own."""
    seconds: list[float] = []
    codes: list[str] = []
    async with connected(kind, target, timeout=0.4, **arguments) as client:
        for own in ({}, {"timeout": 1.2}):
            begun = time.monotonic()
            codes.append((await attempt(client.dashboards.List, dashboards_pb2.ListRequest(), **own))["code"])
            seconds.append(time.monotonic() - begun)
    return [codes, seconds]


async def errors(kind: str, target: str, **arguments: Any) -> dict[str, Any]:
    """Return what the client reads from each error."""
    async with connected(kind, target, **arguments) as client:
        d = client.dashboards
        made = (await call(d.Create, changes_pb2.CreateRequest(dashboard_id="growth", name="A"))).dashboard
        changed = await call(d.Update, changes_pb2.UpdateRequest(id="growth", name="B"))
        stale = changes_pb2.UpdateRequest(id="growth", name="C", etag=made.etag)
        tiles = [Tile(type=TILE_TYPE_MARKDOWN, position=Position(x=11, w=2, h=1), markdown=MarkdownTile())]
        found = {
            "conflict": await attempt(d.Update, stale),
            "invalid": await attempt(d.Upsert, UpsertRequest(dashboard_id="growth", tiles=tiles)),
            "missing": await attempt(d.Get, dashboards_pb2.GetRequest(id="none")),
            "project": await attempt(
                d.Get, dashboards_pb2.GetRequest(id="growth"), metadata=(("x-project-id", "elsewhere"),)
            ),
        }
        found["etag"] = changed.dashboard.etag
    return found


async def read_many(kind: str, target: str, count: int, **arguments: Any) -> list[str]:
    """Make reads, and say when half of them are done: then wait for a line."""
    codes: list[str] = []
    async with connected(kind, target, **arguments) as client:
        for number in range(count):
            if number == count // 2:
                say("half")
                sys.stdin.readline()
            codes.append((await attempt(client.dashboards.List, dashboards_pb2.ListRequest()))["code"])
    return codes


async def read_once(kind: str, target: str, **arguments: Any) -> dict[str, Any]:
    """Make one read."""
    async with connected(kind, target, **arguments) as client:
        return await attempt(client.dashboards.List, dashboards_pb2.ListRequest())


async def wait_for_a_token(kind: str, target: str, tokens: list[str], source: str, **arguments: Any) -> Any:
    """Call with a source of which the first answer never comes; return the outcomes, with their seconds."""
    asked = 0
    never = threading.Event()

    def token() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            never.wait()
        return tokens[0]

    async def coroutine() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return tokens[0]

    found: list[Any] = []
    chosen = coroutine if source == "coroutine" else token
    async with connected(kind, target, token=chosen, timeout=0.4, **arguments) as client:
        for _ in range(2):
            begun = time.monotonic()
            made = await attempt(client.dashboards.List, dashboards_pb2.ListRequest())
            found.append([made["code"], made.get("message", ""), time.monotonic() - begun])
    return [found, asked]


async def wait_for_a_slow_token(
    kind: str, target: str, tokens: list[str], source: str, **arguments: Any
) -> Any:
    """Call with deadlines shorter than a token takes, until one is answered; return how often it is asked."""
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        time.sleep(1)
        return tokens[0]

    async def coroutine() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(1)
        return tokens[0]

    chosen = coroutine if source == "coroutine" else token
    codes: set[str] = set()
    async with connected(kind, target, token=chosen, **arguments) as client:
        while "OK" not in codes:
            codes.add(
                (await attempt(client.dashboards.List, dashboards_pb2.ListRequest(), timeout=0.3))["code"]
            )
    return [sorted(codes), asked]


async def send_bad_tokens(kind: str, target: str, tokens: list[Any], **arguments: Any) -> Any:
    """Call with each token, given as it is and by a function; then, by the same client, with the last."""
    *bad, good = tokens
    request = dashboards_pb2.ListRequest()
    found: list[Any] = []
    for text in filter(lambda it: isinstance(it, str), bad):
        async with connected(kind, target, token=text, **arguments) as client:
            made = await attempt(client.dashboards.List, request)
        found.append([made["code"], made.get("message")])
    for value in bad:
        answers = iter([value, good])
        async with connected(kind, target, token=partial(next, answers), **arguments) as client:
            made, again = [await attempt(client.dashboards.List, request) for _ in range(2)]
        found.append([made["code"], made.get("message"), again["code"]])
    return found


async def run_out_of_tokens(kind: str, target: str, **arguments: Any) -> list[str]:
    """Call with a token function that has none: `next` of an iterator at its end."""
    none: Iterator[str] = iter(())
    async with connected(kind, target, token=partial(next, none), **arguments) as client:
        try:
            await call(client.dashboards.List, dashboards_pb2.ListRequest())
        except Exception as error:  # noqa: BLE001 # its type is what is asked for
            return [type(error).__name__, str(error)]
    return []


async def which_are_local(_: str, targets: list[str]) -> list[str]:
    """Return the targets that are spoken to in plaintext."""
    return [target for target in targets if is_local(target)]


if __name__ == "__main__":
    _, program, chosen_kind, given = sys.argv
    say(asyncio.run(globals()[program](chosen_kind, **json.loads(given))))
