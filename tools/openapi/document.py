"""The OpenAPI description of the REST routes, made of the same tables that serve them."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

from tools.openapi.schemas import (
    comments,
    components,
    described,
    field_schema,
    message_schema,
    object_schema,
    reference,
)

from dashkeeper.auth import PROJECT_ID
from dashkeeper.gen.registrations.v1.changes_pb import CreateRequest, UpdateRequest
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent, DashboardContentWrapper
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
from dashkeeper.transport.rest import dialect
from dashkeeper.transport.rest.resources import DEFAULT_RESULTS, MAX_RESULTS
from dashkeeper.transport.rest.routes import DASHBOARDS, DESCRIPTION, ROUTES

if TYPE_CHECKING:
    from tools.openapi.schemas import Schema

    from dashkeeper.transport.rest.routes import Operation

_NEW, _CHANGED = "NewDashboardRegistration", "ChangedDashboardRegistration"
_MAYBE_ABSENT = frozenset({"deleted_at", "purge_at"})
_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

_ABOUT = """\
Dashboards registered in places of organisations, and their contents. Beside this form there are the
RPCs of registrations.v1.RegistrationsService, over the same data.

Words of enumerations are read in any case and written as they stand here. The keys of chart options are
read in snake_case and in camelCase, and written in snake_case. Keys and parameters that aren't described
here, keys that stand twice, and null are refused. HEAD is served where GET is.
A body has at most 4 MiB, unless the server is set otherwise; it may be compressed by gzip.
"""

_PARAMETERS: dict[str, Schema] = {
    "Project": {
        "name": "x-project-id",
        "in": "header",
        "required": True,
        "description": "The project, which the token must name.",
        "schema": {"type": "string", "pattern": f"^{PROJECT_ID.pattern}$"},
    },
    "RequestId": {
        "name": "x-request-id",
        "in": "header",
        "description": "What the call is known by in the log and in errors. One that isn't such is replaced.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "Id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The registration's id.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9_-]+$"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "Only if the etag is one of these; `*`: if there is one. Weak tags never match.",
        "schema": {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$'},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Only if the etag is none of these; otherwise the answer is 304.",
        "schema": {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$'},
    },
    "IfNone": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Only if there is no content yet.",
        "schema": {"const": "*"},
    },
    "ChangeMessage": {
        "name": "X-Change-Message",
        "in": "header",
        "description": "Why the change is made, at most 500 characters, as percent-encoded UTF-8.",
        "schema": {"type": "string", "maxLength": 6000, "pattern": "^([!-$&-~]|%[0-9A-Fa-f]{2})*$"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "A UUID that the client makes up for this call. Within a day, the same call again under the same"
            " UUID answers what the first one answered and does nothing; another one under it is refused."
        ),
        "schema": {"type": "string", "pattern": f'^({_UUID}|"{_UUID}")$'},
    },
}

_HEADERS: dict[str, Schema] = {
    "x-request-id": {
        "required": True,
        "description": "What the call is known by in the log.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "ETag": {
        "required": True,
        "description": "Stands for this state of the resource.",
        "schema": {"type": "string", "pattern": '^"[!#-~]*"$'},
    },
    "Location": {
        "required": True,
        "description": "Where the new registration is, relative to the path of the call.",
        "schema": {"type": "string", "pattern": "^dashboards/[A-Za-z0-9_-]+$"},
    },
    "WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}},
}

_ERRORS = {
    400: "The request is malformed or breaks a rule: `violations` names every field at fault.",
    401: "There is no token, or it isn't valid.",
    403: "The token doesn't allow the project, the call or the organisation.",
    404: "There is no such registration for this caller, or it has no content.",
    409: "The registration is being changed by too many at once, or the Idempotency-Key is taken.",
    412: "The If-Match or If-None-Match doesn't hold: read again.",
    413: "The body, or what would be stored, is too large.",
    415: "The body isn't application/json, or its content-encoding isn't served.",
    428: "The write needs an If-Match.",
    429: "There are too many: delete some, or ask for fewer.",
    500: "Something unforeseen; the log says what, under the error's id.",
    503: "The server can't answer now: try again in a moment.",
    504: "The call took too long, and was stopped.",
}

_OF_ALL = (400, 401, 403, 500, 503, 504)


def openapi() -> Schema:
    """Return the description, OpenAPI 3.1."""
    paths = {
        path: {
            method.lower(): one
            for method, operation in operations.items()
            for one in [_made(path, method, operation)]
        }
        for path, operations in ROUTES.items()
    }
    for operations in paths.values():
        if "get" in operations:
            operations["head"] = _without_content(operations["get"])
    paths[DESCRIPTION] = {"get": _own_operation()}
    paths[DESCRIPTION]["head"] = _without_content(paths[DESCRIPTION]["get"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dashkeeper: registrations",
            "version": installed_version("dashkeeper"),
            "description": _ABOUT,
        },
        "servers": [{"url": "..", "description": "Relative to where this description is served."}],
        "security": [{"bearer": []}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "authorization",
                    "description": "The JWT alone.",
                },
            },
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "responses": {str(status): _error(status) for status in _ERRORS},
            "schemas": {
                **components([DashboardContentWrapper.desc()]),
                DashboardRegistration.desc().name: _answered(DashboardRegistration),
                DashboardContentWrapper.desc().name: _answered(DashboardContentWrapper),
                _NEW: _body(CreateRequest, dialect.WRITABLE | dialect.FIXED),
                _CHANGED: _body(UpdateRequest, dialect.WRITABLE),
                "Error": _error_schema(),
            },
        },
    }


def _made(path: str, method: str, operation: Operation) -> Schema:
    """Return the description of one operation."""
    made: Schema = {
        "operationId": operation.rpc,
        "summary": operation.summary,
        "parameters": _parameters(path, method, operation),
        "responses": _responses(path, method, operation),
    }
    if operation.body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": f"#/components/schemas/{_body_name(operation)}"}}
            },
        }
    return made


def _parameters(path: str, method: str, operation: Operation) -> list[Schema]:
    names = ["Project", "RequestId"]
    if "{id}" in path:
        names += ["Id", "IfMatch"]
        if method == "GET":
            names.append("IfNoneMatch")
        elif operation.body is DashboardContent:
            names.append("IfNone")
    if method != "GET":
        names += ["ChangeMessage", "IdempotencyKey"]
    queries: list[Schema] = []
    for name, field in operation.parameters.items():
        schema = field_schema(field)
        text = schema.pop("description", "")
        if name == "max_results":
            text = (
                "The most registrations that the answer holds. It may hold fewer where they are very large."
            )
            schema |= {"minimum": 1, "maximum": MAX_RESULTS, "default": DEFAULT_RESULTS}
        rule = dialect.rules(field)
        queries.append(
            {
                "name": name,
                "in": "query",
                "required": path == DASHBOARDS and rule is not None and rule.required,
                "description": text
                if path == DASHBOARDS
                else "The registration's organisation; any other is not found.",
                "schema": {"minLength": 1, **schema} if schema["type"] == "string" else schema,
            }
        )
    return [*({"$ref": f"#/components/parameters/{name}"} for name in names), *queries]


def _responses(path: str, method: str, operation: Operation) -> Schema:
    statuses: set[int] = set(_OF_ALL)
    if "{id}" in path:
        statuses |= {404, 412}
    if method != "GET":
        statuses |= {409, 413, 429}
    if method in {"PUT", "DELETE"}:
        statuses.add(428)
    if operation.body is not None:
        statuses |= {413, 415}
    answers: Schema = {}
    headers = ["x-request-id"]
    if (operation.answers is not None and path != DASHBOARDS) or method == "POST":
        headers.append("ETag")
    if method == "GET" and "{id}" in path:
        answers["304"] = {
            "description": "It is still as the If-None-Match says.",
            "headers": _headers(headers),
        }
    if method == "POST":
        headers.append("Location")
    answers["201" if method == "POST" else "200"] = {
        "description": "It is done." if method != "GET" else "It is as asked for.",
        "headers": _headers(headers),
        "content": {"application/json": {"schema": _envelope(path, method, operation)}},
    }
    answers |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}
    return dict(sorted(answers.items()))


def _envelope(path: str, method: str, operation: Operation) -> Schema:
    one = object_schema({}, ()) if operation.answers is None else reference(operation.answers.desc())
    if path == DASHBOARDS and method == "GET":
        counts = {
            name: {"type": "integer", "minimum": 0}
            for name in ("count", "total", "first_result", "max_results")
        }
        properties = {"status": {"const": "ok"}, **counts, "data": {"type": "array", "items": one}}
    else:
        properties = {"status": {"const": "ok"}, "data": one}
    return object_schema(properties, properties)


def _own_operation() -> Schema:
    return {
        "operationId": "Describe",
        "summary": "Get this description",
        "security": [],
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    }


def _without_content(operation: Schema) -> Schema:
    """Return the description of HEAD for that of GET."""
    answers: Schema = {}
    for status, answer in operation["responses"].items():
        found = _error(int(status)) if "$ref" in answer else answer
        answers[status] = {key: value for key, value in found.items() if key != "content"}
    return {**operation, "operationId": f"Head{operation['operationId']}", "responses": answers}


def _error(status: int) -> Schema:
    headers = ["x-request-id", *(["WWW-Authenticate"] if status == 401 else [])]
    return {
        "description": _ERRORS[status],
        "headers": _headers(headers),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _error_schema() -> Schema:
    text = {"type": "string"}
    violation = object_schema({"field": text, "description": text}, ("field", "description"))
    properties: Schema = {
        "status": {"const": "error"},
        "error": {"type": "string", "description": "What is wrong, for people."},
        "error_code": {
            "type": "string",
            "description": "The code of the RPC's error, such as INVALID_ARGUMENT.",
        },
        "error_id": {
            "type": "string",
            "description": "The id of the call, as in x-request-id and in the log.",
        },
        "reason": {"type": "string", "description": "What is wrong, for programs, such as ETAG_MISMATCH."},
        "violations": {
            "type": "array",
            "items": violation,
            "description": "Every field, parameter or header at fault, by its path.",
        },
        "metadata": {
            "type": "object",
            "additionalProperties": text,
            "description": "What a program needs, such as the current etag.",
        },
    }
    return object_schema(properties, [name for name in properties if name != "metadata"])


def _headers(names: list[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _answered(message: type[DashboardRegistration | DashboardContentWrapper]) -> Schema:
    """Return the schema of a resource as it is answered: whatever it has is there."""
    desc = message.desc()
    return {
        **message_schema(desc),
        "required": sorted(key for key in dialect.fields(desc) if key not in _MAYBE_ABSENT),
    }


def _body_name(operation: Operation) -> str:
    if operation.body is DashboardContent:
        return DashboardContent.desc().name
    return _NEW if operation.rpc == "Create" else _CHANGED


def _body(request: type[CreateRequest | UpdateRequest], mandatory: frozenset[str]) -> Schema:
    """Return the schema of a registration in a body: the rules are those of the request that writes it."""
    rules, said = dialect.fields(CreateRequest.desc()), comments(request.desc())
    properties: Schema = {key: {"description": "Read-only: ignored."} for key in sorted(dialect.READ_ONLY)}
    for key, field in dialect.fields(DashboardRegistration.desc()).items():
        if key in dialect.READ_ONLY:
            continue
        properties[key] = field_schema(rules.get(key, field))
        if key in said:
            properties[key]["description"] = said[key]
    if request is CreateRequest:
        properties["dashboard_content_id"] = {"const": "", "description": said["dashboard_content_id"]}
    return object_schema(properties, mandatory, description=described(DashboardRegistration.desc()))
