"""Which project a call acts in and what its token allows: on every RPC of every service that is served."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, cast

import grpc
import httpx
import pytest
from connectrpc.method import IdempotencyLevel
from connectrpc.request import Headers, RequestContext

from dashkeeper.auth import READ, REQUIRED_SCOPE, WRITE, Authenticator, StaticKey, TokenRules
from dashkeeper.config import Settings
from dashkeeper.errors import PermissionDeniedError, UnauthenticatedError
from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.methods import method_info, procedure
from dashkeeper.pipeline import Pipeline, Service
from dashkeeper.server import services
from tests.api import TRANSPORTS, Api
from tests.attack import SERVICE
from tests.registrations import NEW, listed, register, show
from tests.server import AUDIENCE, ISSUER, SECRET, make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.api import Reply
    from tests.server import RunningServer

LISTENERS = ("grpc", "connect-json")
SECRET_TEXT = "held-by-the-other-project"  # too long for a random id to hold it by chance
TILE = {"id": SECRET_TEXT, "type": "TILE_TYPE_MARKDOWN", "position": {"w": 1, "h": 1}, "markdown": {}}

REGISTRATIONS = "/registrations.v1.RegistrationsService"

# A request to every RPC, about the dashboard or registration with this id. A new RPC must be given one here.
SAMPLES: dict[str, Callable[[str], dict[str, Any]]] = {
    f"{SERVICE}/List": lambda _: {"showDeleted": True},
    f"{SERVICE}/Get": lambda it: {"id": it},
    f"{SERVICE}/Create": lambda it: {"dashboardId": it, "name": "a"},
    f"{SERVICE}/Update": lambda it: {"id": it, "name": "a"},
    f"{SERVICE}/Upsert": lambda it: {"dashboardId": it, "tiles": [TILE | {"id": "t"}]},
    f"{SERVICE}/Delete": lambda it: {"id": it},
    f"{SERVICE}/Undelete": lambda it: {"id": it},
    f"{SERVICE}/ListRevisions": lambda it: {"id": it},
    f"{SERVICE}/GetRevision": lambda it: {"id": it, "revision": "1"},
    f"{SERVICE}/Restore": lambda it: {"id": it, "revision": "1"},
    f"{REGISTRATIONS}/List": lambda _: {"organisationId": "org", "showDeleted": True},
    f"{REGISTRATIONS}/Get": lambda it: {"id": it},
    f"{REGISTRATIONS}/Create": lambda _: NEW,
    f"{REGISTRATIONS}/Update": lambda it: {"id": it, "title": "a"},
    f"{REGISTRATIONS}/Delete": lambda it: {"id": it},
    f"{REGISTRATIONS}/Undelete": lambda it: {"id": it},
    f"{REGISTRATIONS}/GetContent": lambda it: {"id": it},
    f"{REGISTRATIONS}/UpdateContent": lambda it: {"id": it, "content": {}},
    f"{REGISTRATIONS}/ListContents": lambda it: {"id": it},
    f"{REGISTRATIONS}/RestoreContent": lambda it: {"id": it, "contentId": "content_x"},
}
SERVICES = [service.desc for service in services(None, Settings())]  # type: ignore[arg-type] # nothing is called
SERVED = {procedure(method): service for service in SERVICES for method in service.methods}
WRITES = [path for path in SERVED if REQUIRED_SCOPE.get(path) != READ]


def test_every_rpc_has_a_sample_request() -> None:
    assert sorted(SAMPLES) == sorted(SERVED)


def test_every_rpc_is_listed_with_what_it_needs() -> None:
    assert sorted(REQUIRED_SCOPE) == sorted(SERVED)
    for service in SERVICES:
        for method in service.methods:
            is_read = method_info(method).idempotency_level is IdempotencyLevel.NO_SIDE_EFFECTS
            assert REQUIRED_SCOPE[procedure(method)] == (READ if is_read else WRITE), method.name


class Victim:
    """A project with a live and a deleted dashboard, and a live and a deleted registration with contents."""

    def __init__(self, server: RunningServer) -> None:
        self.project_id = f"victim-{uuid.uuid4().hex}"
        token = make_token(self.project_id, subject=SECRET_TEXT)
        self.apis = {
            f"/{service.type_name}": Api(server, "grpc", token, self.project_id, service)
            for service in SERVICES
        }
        dashboards, registrations = self.apis[SERVICE], self.apis[REGISTRATIONS]
        for name in ("live", "deleted"):
            request = {"dashboardId": f"{name}-{self.project_id}"[:64], "name": SECRET_TEXT, "tiles": [TILE]}
            assert dashboards.call("Create", request | {"labels": {"a": SECRET_TEXT}}).code == "ok"
        assert dashboards.call("Delete", {"id": f"deleted-{self.project_id}"[:64]}).code == "ok"
        made = [register(registrations, title=SECRET_TEXT)["id"] for _ in range(2)]
        for registration_id in made:
            show(registrations, registration_id, SECRET_TEXT)
        assert registrations.call("Delete", {"id": made[1]}).code == "ok"

    def api_for(self, path: str) -> Api:
        return self.apis[path.rpartition("/")[0]]

    def resources(self, path: str) -> list[dict[str, Any]]:
        """Return what an RPC is about, the live one first."""
        if path.startswith(SERVICE):
            found = self.apis[SERVICE].call("List", {"showDeleted": True}).body["dashboards"]
        else:
            found = listed(self.apis[REGISTRATIONS], showDeleted=True)
        return sorted(found, key=lambda each: "deletedAt" in each)

    def close(self) -> None:
        for api in self.apis.values():
            api.close()

    def everything(self) -> Any:
        found: list[Any] = []
        for service, methods in {
            SERVICE: ["Get"],
            REGISTRATIONS: ["Get", "GetContent", "ListContents"],
        }.items():
            for each in self.resources(f"{service}/Get"):
                found += [each, *(self.apis[service].call(it, {"id": each["id"]}).body for it in methods)]
        return found


@pytest.fixture
def victim(server: RunningServer) -> Iterator[Victim]:
    made = Victim(server)
    yield made
    made.close()


@pytest.fixture(scope="module")
def victims() -> Iterator[dict[str, Victim]]:
    """One a server, for all tests that show that it stays as it is."""
    made: dict[str, Victim] = {}
    yield made
    for each in made.values():
        each.close()


@pytest.fixture
def untouched(server: RunningServer, victims: dict[str, Victim]) -> Iterator[Victim]:
    """A victim that nothing may change."""
    if server.grpc not in victims:
        victims[server.grpc] = Victim(server)
    victim = victims[server.grpc]
    before = victim.everything()
    yield victim
    assert victim.everything() == before


def attacker_for(path: str, server: RunningServer, transport: str, token: str, project_id: str) -> Api:
    return Api(server, transport, token, project_id, SERVED[path])


VOLATILE = ("createdAt", "updatedAt", "createdTs", "lastModifiedTs", "etag")


def comparable(reply: Reply, resource_id: str) -> Any:
    """Return an answer without what differs between any two: the id, the time, the etag."""
    shown = dict(reply.body.get("dashboard", reply.body.get("registration", {})))
    resource_id = shown.get("id", resource_id)  # that of a registration is always the server's
    volatile = {name: shown.pop(name, None) for name in VOLATILE}
    told = [
        reply.code,
        reply.reason,
        reply.message,
        reply.metadata,
        reply.violations,
        sorted(reply.body),
        shown,
    ]
    return json.loads(json.dumps(told).replace(resource_id, "ID")), [
        name for name in volatile if volatile[name]
    ]


# What a listener does doesn't depend on the database: on PostgreSQL, one is enough.
PLACES = pytest.mark.parametrize(
    ("database", "transport"), [*(("sqlite", listener) for listener in LISTENERS), ("postgresql", "grpc")]
)


@PLACES
@pytest.mark.parametrize(
    ("path", "extra"),
    [
        (path, extra)
        for path in SERVED
        for extra in ("plain", "etag", "dry-run")
        if path in WRITES or extra == "plain"
    ],
)
def test_resource_of_another_project_is_answered_like_none(
    server: RunningServer, untouched: Victim, project_id: str, path: str, transport: str, extra: str
) -> None:
    method = path.rpartition("/")[2]
    attacker = attacker_for(path, server, transport, make_token(project_id), project_id)
    for number, resource in enumerate(untouched.resources(path)):
        changes: dict[str, Any] = {
            "plain": {},
            "etag": {"etag": resource["etag"]} if method != "Create" else {},
            "dry-run": {"validateOnly": True},
        }[extra]
        never = f"never-{number}-{uuid.uuid4().hex}"
        reply = attacker.call(method, SAMPLES[path](resource["id"]) | changes)
        control = attacker.call(method, SAMPLES[path](never) | changes)
        if method == "List":
            assert reply.code == "ok"
            assert resource["id"] not in json.dumps(reply.body)
        else:
            assert comparable(reply, resource["id"]) == comparable(control, never)
            assert reply.code == ("ok" if method == "Create" else "not_found")
        assert SECRET_TEXT not in repr(reply)
    attacker.close()


@pytest.mark.parametrize("transport", LISTENERS)
@pytest.mark.parametrize("path", WRITES)
def test_request_id_of_another_project_answers_nothing_of_it(
    server: RunningServer, victim: Victim, project_id: str, path: str, transport: str
) -> None:
    method, api = path.rpartition("/")[2], victim.api_for(path)
    live, deleted = (resource["id"] for resource in victim.resources(path))
    ready = {"Create": f"new-{project_id}"[:64], "Undelete": deleted}.get(method, live)
    request = SAMPLES[path](ready) | {"requestId": str(uuid.uuid4())}
    if method == "RestoreContent":
        request["contentId"] = api.call("GetContent", {"id": live}).wrapper["id"]
    first = api.call(method, request)
    assert first.code == "ok"
    # The very same caller, in another project.
    attacker = attacker_for(path, server, transport, make_token(project_id, subject=SECRET_TEXT), project_id)
    reply = attacker.call(method, request)
    if method == "Create":
        (name,) = reply.body
        assert reply.body[name]["etag"] != first.body[name]["etag"]
        assert attacker.call("Get", {"id": reply.body[name]["id"]}).body == reply.body
    else:
        assert reply.code == "not_found"
        assert SECRET_TEXT not in repr(reply)
    assert api.call(method, request).code == "ok"  # the first answer is still there
    attacker.close()


@PLACES
@pytest.mark.parametrize("path", SERVED)
def test_project_that_the_token_does_not_name_is_refused(
    server: RunningServer, untouched: Victim, project_id: str, path: str, transport: str
) -> None:
    method = path.rpartition("/")[2]
    attacker = attacker_for(path, server, transport, make_token(project_id), untouched.project_id)
    for resource_id in [*(resource["id"] for resource in untouched.resources(path)), "never"]:
        reply = attacker.call(method, SAMPLES[path](resource_id))
        assert (reply.code, reply.reason) == ("permission_denied", "PROJECT_NOT_ALLOWED")
        assert reply.body == {}
        other = attacker.call(method, SAMPLES[path](resource_id), x_project_id="nobody-has-this")
        assert other.message.replace("nobody-has-this", untouched.project_id) == reply.message
    malformed = attacker.send(method, b"\xff\xff")
    assert malformed.code == "permission_denied"  # before anything is decoded
    attacker.close()


SCOPES: dict[str, tuple[Any, bool, bool]] = {  # the claim; may read, may write
    "both": ("dashboards:read dashboards:write", True, True),
    "read": ("dashboards:read", True, False),
    "write-implies-read": ("dashboards:write", True, True),
    "among-others": ("openid  dashboards:read\temail", True, False),
    "array": (["dashboards:write"], True, True),
    "array-of-read": (["openid", "dashboards:read"], True, False),
    "array-is-not-split": (["dashboards:read dashboards:write"], False, False),
    "array-with-other-things": ([None, 7, {}, ["dashboards:write"], "dashboards:read"], True, False),
    "none": (None, False, False),
    "empty": ("", False, False),
    "empty-array": ([], False, False),
    "other": ("openid", False, False),
    "in-capitals": ("DASHBOARDS:WRITE", False, False),
    "longer": ("dashboards:write2 xdashboards:read", False, False),
    "star": ("*", False, False),
    "commas": ("dashboards:read,dashboards:write", False, False),
    "object": ({"dashboards:write": True}, False, False),
    "true": (True, False, False),
}


@pytest.mark.parametrize("transport", LISTENERS)
@pytest.mark.parametrize(("scope", "may_read", "may_write"), SCOPES.values(), ids=SCOPES)
def test_scope_decides_on_every_rpc(
    sqlite_server: RunningServer, project_id: str, transport: str, scope: Any, may_read: bool, may_write: bool
) -> None:
    token = make_token(project_id, scope=scope)
    apis = {
        service.type_name: Api(sqlite_server, transport, token, project_id, service) for service in SERVICES
    }
    for path, service in SERVED.items():
        method, api = path.rpartition("/")[2], apis[service.type_name]
        reply = api.call(method, SAMPLES[path]("some-id"))
        if may_write if path in WRITES else may_read:
            assert reply.code in {"ok", "not_found", "already_exists"}, path
        else:
            assert (reply.code, reply.reason) == ("permission_denied", "SCOPE_NOT_ALLOWED"), path
            assert api.send(method, b"\xff\xff").code == "permission_denied"  # before anything is decoded
    for api in apis.values():
        api.close()


PROJECT_CLAIMS: dict[str, tuple[Any, bool]] = {
    "own": (["{project}"], True),
    "among-others": (["a", "{project}", 7, None], True),
    "all": (["*"], True),
    "other": (["other"], False),
    "longer": (["{project}x"], False),
    "prefix-and-star": (["p-*"], False),
    "none": (None, False),
    "empty": ([], False),
    "text": ("{project}", False),
    "star-as-text": ("*", False),
    "object": ({"{project}": True}, False),
    "nested": ([["{project}"]], False),
    "true": (True, False),
}


@pytest.mark.parametrize("transport", LISTENERS)
@pytest.mark.parametrize(("claim", "allowed"), PROJECT_CLAIMS.values(), ids=PROJECT_CLAIMS)
def test_projects_claim_decides(
    sqlite_server: RunningServer, project_id: str, transport: str, claim: Any, allowed: bool
) -> None:
    claim = json.loads(json.dumps(claim).replace("{project}", project_id))
    api = Api(sqlite_server, transport, make_token(projects=claim), project_id)
    assert api.call("List").code == ("ok" if allowed else "permission_denied")
    api.close()


def test_projects_claim_of_another_name_is_the_one_that_counts(tmp_path: Path) -> None:
    with running_server(tmp_path, JWT_PROJECTS_CLAIM="https://example.com/tenants") as running:
        tenants: dict[str, Any] = {"https://example.com/tenants": ["a"]}
        own = make_token(**tenants)
        api = Api(running, "grpc", own, "a")
        assert api.call("List").code == "ok"
        assert api.call("List", authorization=f"Bearer {make_token('a')}").code == "permission_denied"
        api.close()


BAD_PROJECTS = ["", "-a", "_a", "a b", "a/b", "a.b", "*", "a" * 65, "a,b", "'a'", "a%20b"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("project", [None, *BAD_PROJECTS])
def test_project_missing_or_malformed_is_invalid(
    sqlite_server: RunningServer, transport: str, project: str | None
) -> None:
    api = Api(sqlite_server, transport, make_token("*"), "a")
    reply = api.call("List", x_project_id=project)
    assert (reply.code, reply.reason) == ("invalid_argument", "INVALID_PROJECT_ID")
    assert set(reply.violations) == {"x-project-id"}
    api.close()


def test_project_sent_twice_is_invalid(sqlite_server: RunningServer) -> None:
    headers = [("authorization", f"Bearer {make_token('*')}"), ("x-project-id", "a"), ("x-project-id", "a")]
    answer = httpx.post(f"{sqlite_server.http}{SERVICE}/List", json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    with grpc.insecure_channel(sqlite_server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"{SERVICE}/List")(b"", metadata=tuple(headers))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def a_pipeline() -> Pipeline:
    rules = TokenRules(algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE)
    open_to_nobody = Service(DashboardsService.desc(), lambda caller: pytest.fail(f"was made for {caller}"))
    return Pipeline(Authenticator(StaticKey(SECRET), rules), [open_to_nobody], max_request_bytes=1_024)


def test_rpc_that_is_not_listed_is_refused_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = a_pipeline()
    for method in DashboardsService.desc().methods:
        monkeypatch.delitem(cast("dict[str, str]", REQUIRED_SCOPE), procedure(method))
        scope: Any = ["dashboards:read", "dashboards:write", "*", None, "None", ""]
        everything_allowed = make_token("*", scope=scope)
        headers = Headers({"authorization": f"Bearer {everything_allowed}", "x-project-id": "a"})
        call = pipeline.open(procedure(method), "grpc", None)
        with pytest.raises(PermissionDeniedError):
            pipeline.admit(
                call, RequestContext(method=method_info(method), http_method="POST", request_headers=headers)
            )
        assert call.caller is None


async def test_call_that_was_not_admitted_is_not_answered() -> None:
    pipeline = a_pipeline()
    method = DashboardsService.desc().methods[0]
    call = pipeline.open(procedure(method), "grpc", None)
    ctx = RequestContext(method=method_info(method), http_method="POST", request_headers=Headers())
    with pytest.raises(UnauthenticatedError):
        await pipeline.answer(call, ctx, b"", "proto")
