"""The routes: for each the RPC that it stands for, what its query may hold, and what is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dashkeeper.gen.registrations.v1.content_pb import DashboardContent, DashboardContentWrapper
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.gen.registrations.v1.registrations_pb import ListRequest
from dashkeeper.methods import method_info, procedure
from dashkeeper.transport.rest import dialect, resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from connectrpc.method import MethodInfo
    from protobuf import DescField, Message

    from dashkeeper.transport.rest.resources import Answer, Exchange

PREFIX = "/v1"
DASHBOARDS = f"{PREFIX}/dashboards"
DASHBOARD = f"{DASHBOARDS}/{{id}}"
CONTENT = f"{DASHBOARD}/content"
DESCRIPTION = f"{PREFIX}/openapi.json"

REGISTRATION_ROUTE = "dashboard registration"
CONTENT_ROUTE = "dashboard content"

_METHODS = {method.name: method for method in RegistrationsService.desc().methods}
_LIST_FIELDS = dialect.fields(ListRequest.desc())
_OF_ORGANISATION = {"organisation_id": _LIST_FIELDS["organisation_id"]}
_LIST_PARAMETERS = {
    **{
        name: _LIST_FIELDS[name]
        for name in (
            "organisation_id",
            "community_id",
            "include_community",
            "scope",
            "segment_id",
            "builder_id",
            "archived",
        )
    },
    "keywords": _LIST_FIELDS["title_contains"],
    "first_result": _LIST_FIELDS["skip"],
    "max_results": _LIST_FIELDS["page_size"],
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of a route does."""

    rpc: str
    """The method of RegistrationsService that it stands for: the caller must be allowed that one."""
    run: Callable[[Exchange], Awaitable[Answer]]
    summary: str
    about: str = REGISTRATION_ROUTE
    body: type[Message] | None = None
    answers: type[Message] | None = None
    parameters: Mapping[str, DescField] = field(default_factory=dict["str", "DescField"])

    @property
    def procedure(self) -> str:
        """The path of the RPC."""
        return procedure(_METHODS[self.rpc])

    @property
    def info(self) -> MethodInfo[Message, Message]:
        """What a call's context says of the RPC."""
        return method_info(_METHODS[self.rpc])


ROUTES: Mapping[str, Mapping[str, Operation]] = {
    DASHBOARDS: {
        "GET": Operation(
            "List",
            resources.list_registrations,
            "List the registrations of an organisation",
            answers=DashboardRegistration,
            parameters=_LIST_PARAMETERS,
        ),
        "POST": Operation(
            "Create",
            resources.create_registration,
            "Create a registration",
            body=DashboardRegistration,
            answers=DashboardRegistration,
        ),
    },
    DASHBOARD: {
        "GET": Operation(
            "Get",
            resources.get_registration,
            "Get a registration",
            answers=DashboardRegistration,
            parameters=_OF_ORGANISATION,
        ),
        "PUT": Operation(
            "Update",
            resources.update_registration,
            "Replace what of a registration can be written",
            body=DashboardRegistration,
            answers=DashboardRegistration,
            parameters=_OF_ORGANISATION,
        ),
        "DELETE": Operation(
            "Delete", resources.delete_registration, "Delete a registration", parameters=_OF_ORGANISATION
        ),
    },
    CONTENT: {
        "GET": Operation(
            "GetContent",
            resources.get_content,
            "Get the current content of a registration",
            about=CONTENT_ROUTE,
            answers=DashboardContentWrapper,
            parameters=_OF_ORGANISATION,
        ),
        "PUT": Operation(
            "UpdateContent",
            resources.update_content,
            "Replace the content of a registration",
            about=CONTENT_ROUTE,
            body=DashboardContent,
            answers=DashboardContentWrapper,
            parameters=_OF_ORGANISATION,
        ),
    },
}
"""Every route, by its path and method. HEAD is served where GET is."""
