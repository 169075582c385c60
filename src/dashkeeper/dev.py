"""Development mode: a signing secret of its own, samples, and calls to paste."""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import NAMESPACE_OID, uuid5

from dashkeeper.auth import READ, WRITE, Caller
from dashkeeper.config import PREFIX, load_settings
from dashkeeper.errors import ConfigError
from dashkeeper.gen.dashboards.v1.changes_pb import CreateRequest
from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.registrations.v1.changes_pb import CreateRequest as CreateRegistrationRequest
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.gen.registrations.v1.registration_pb import Scope
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.keys import secret_algorithms
from dashkeeper.store.queries import DashboardQuery, RegistrationQuery
from dashkeeper.tokens import make_token

if TYPE_CHECKING:
    from protobuf import DescService

    from dashkeeper.config import Settings
    from dashkeeper.server import Server

SECRET_FILE = Path(".dashkeeper-dev-secret")
PROJECT_ID = "demo"
ORGANISATION_ID = "acme"
"""Of the sample registration; also its community."""

T = TypeVar("T", CreateRequest, CreateRegistrationRequest, UpdateContentRequest)

_NAME = "dashkeeper-dev"  # issuer, audience and subject


def dev_settings(*, create: bool, **flags: Any) -> Settings:
    """Return the settings with those of development mode where nothing else is set.

    Args:
        create: Make the secret's file where there is none.
        flags: The settings given as flags.

    Raises:
        ConfigError: If an address could be reached from another machine.
    """
    settings = load_settings(**flags)
    if settings.jwt_secret is None and settings.jwt_public_key is None:
        flags |= {"jwt_secret": _secret(create=create)}
    flags |= {"jwt_issuer": settings.jwt_issuer or _NAME, "jwt_audience": settings.jwt_audience or _NAME}
    settings = load_settings(**flags)
    if settings.jwt_public_key is not None and settings.jwt_private_key is None:
        raise ConfigError(
            f"development mode prints a token: set {PREFIX}JWT_PRIVATE_KEY to sign it with, or no key at all"
        )
    for address in (settings.http_address, settings.grpc_address):
        if address is not None and not address.is_loopback:
            raise ConfigError(
                f"development mode listens on this machine only, not on {address}:"
                " use a loopback address, or leave --dev out and set a key"
            )
    return settings


def _secret(*, create: bool) -> str:
    """Return the secret kept in the working folder (mode 0600). Of two first starts at once, one makes it."""
    try:
        secret = SECRET_FILE.read_text(encoding="ascii").strip() if SECRET_FILE.exists() else ""
        if create and not secret:
            descriptor = os.open(SECRET_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # an empty file may be one that another start just made
                secret = file.read().strip()
                if not secret:
                    secret = secrets.token_urlsafe(48)
                    file.write(f"{secret}\n")
        secret_algorithms(secret)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{SECRET_FILE} can't be used: it {error}: delete it to have a new one made"
            if isinstance(error, ValueError)
            else f"{SECRET_FILE} can't be used: {error.strerror}: delete it to have a new one made"
        ) from error
    return secret


async def add_samples(server: Server) -> None:
    """Put the samples into project `demo`: dashboards if it holds none, a registration if `acme` has none."""
    dashboards = DashboardQuery(limit=1, max_bytes=1, show_deleted=True)
    if not (await server.store.list_dashboards(PROJECT_ID, dashboards)).dashboards:
        service = _service(server, DashboardsService.desc())
        for name in ("growth.json", "revenue.json"):
            await service.create(_once(CreateRequest.from_json(_sample(name))), None)
    registrations = RegistrationQuery(
        organisation_ids=[ORGANISATION_ID], limit=1, max_bytes=1, show_deleted=True
    )
    if not (await server.store.list_registrations(PROJECT_ID, registrations)).registrations:
        service = _service(server, RegistrationsService.desc())
        request = CreateRegistrationRequest(
            title="Audience",
            scopes=[Scope.HOME],
            organisation_id=ORGANISATION_ID,
            community_id=ORGANISATION_ID,
        )
        registration = (await service.create(_once(request), None)).registration
        content = DashboardContent.from_json(_sample("audience.json"))
        request = UpdateContentRequest(id=registration.id, content=content)
        await service.update_content(_once(request), None)


def _once(request: T) -> T:
    """Give a request the same id in every process: of several first starts, one adds the sample."""
    request.request_id = str(uuid5(NAMESPACE_OID, request.to_binary().hex()))
    return request


def _service(server: Server, desc: DescService) -> Any:
    """Return a service of the server, acting in project `demo`."""
    (service,) = (it for it in server.pipeline.services if it.desc.type_name == desc.type_name)
    return service.acting_for(Caller(subject=_NAME, project_id=PROJECT_ID))


def _sample(name: str) -> str:
    return (files("dashkeeper.samples") / name).read_text(encoding="utf-8")


def greeting(settings: Settings, server: Server) -> str:
    """Return a token for project `demo`, and calls that work as printed."""
    token = make_token(
        settings, subject=_NAME, projects=[PROJECT_ID], scope=f"{READ} {WRITE}", expires=timedelta(hours=12)
    )
    headers = f"-H \"authorization: Bearer $TOKEN\" -H 'x-project-id: {PROJECT_ID}'"
    home = f'{{"organisationId": "{ORGANISATION_ID}", "scope": "SCOPE_HOME", "includeContent": true}}'
    lines = [
        "",
        "Dashkeeper in development mode: a token for project `demo`, good for 12 hours, and calls to paste",
        "into another terminal. Ctrl+C stops the server.",
        "",
        f"export TOKEN={token}",
    ]
    if (http := server.http_address) is not None and not http.path:
        url = quote(f"http://{http}")
        rest = quote(f"http://{http}/v1/dashboards?organisation_id={ORGANISATION_ID}")
        lines += [
            "",
            "# Connect with JSON",
            f"curl -s {url}/dashboards.v1.DashboardsService/List {headers} \\",
            "  -H 'content-type: application/json' -d '{}'",
            f"curl -s {url}/dashboards.v1.DashboardsService/Get {headers} \\",
            "  -H 'content-type: application/json' -d '{\"id\": \"growth-kpis\"}'",
            "",
            "# What the home page of an organisation shows",
            f"curl -s {url}/registrations.v1.RegistrationsService/List {headers} \\",
            f"  -H 'content-type: application/json' -d '{home}'",
            "",
            "# The registrations of an organisation, by REST",
            f"curl -s {rest} {headers}",
            "",
            "# gRPC-Web, by the schema that the server gives",
            f"{_program('buf')} curl --protocol grpcweb --schema {url}/descriptors.binpb \\",
            f"  {headers} {url}/dashboards.v1.DashboardsService/List -d '{{}}'",
        ]
    if (grpc := server.grpc_address) is not None and not grpc.path and settings.reflection:
        where, url = quote(str(grpc)), quote(f"http://{grpc}")
        lines += [
            "",
            "# gRPC, by reflection",
            f"{_program('buf')} curl --protocol grpc --http2-prior-knowledge {headers} \\",
            f"  {url}/dashboards.v1.DashboardsService/List -d '{{}}'",
            f"{_program('grpcurl')} -plaintext {headers} \\",
            f'  -d \'{{"name": "My first"}}\' {where} dashboards.v1.DashboardsService/Create',
        ]
    return "\n".join(lines)


def _program(name: str) -> str:
    """Return how to call a program that stands beside this one, as `make run` installs it, or by its name."""
    beside = Path(sys.executable).with_name(name)
    return quote(str(beside)) if beside.exists() else name
