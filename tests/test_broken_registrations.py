"""Broken rules of a registration's requests: each is refused with all the broken paths, and no others."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from protobuf import DescField, DescFieldValueList, DescFieldValueMessage, DescMessage, DescOneof
from protovalidate._gen.buf.validate.validate_pb import ext_field, ext_oneof

from dashkeeper.codec import decode
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from tests.api import TRANSPORTS, Api
from tests.broken_registrations import BROKEN_RULES, VALID_REQUESTS, WRITES
from tests.server import make_token
from tests.violations import violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protobuf import Message

    from tests.cases import Case
    from tests.server import RunningServer

INPUTS = {method.name: method.input.type for method in RegistrationsService.desc().methods}
MAX_BYTES = 4 << 20


def decoded(case: Case) -> Message:
    """Return a case's request as it is decoded from JSON, and from the binary form of that."""
    message = INPUTS[case.method]
    request = decode(json.dumps(case.request).encode(), "json", message, max_bytes=MAX_BYTES)
    return decode(request.to_binary(), "proto", message, max_bytes=MAX_BYTES)


@pytest.mark.parametrize("case", BROKEN_RULES, ids=lambda case: case.id)
def test_request_with_broken_rule_is_refused_with_its_paths(case: Case) -> None:
    found = violations(decoded(case))
    assert {path for path, _ in found} == case.fields
    assert all(text for _, text in found), "each violation says what is wrong"
    assert not [text for _, text in found if "^" in text], "a pattern is told in words"


def message_of(member: DescField | DescOneof) -> DescMessage | None:
    """Return the message that a field holds, or holds a list of."""
    match member:
        case DescField(value=DescFieldValueMessage(message=message)):
            return message
        case DescField(value=DescFieldValueList(element=DescMessage() as message)):
            return message
        case _:
            return None


def with_rules(message: DescMessage, seen: set[str]) -> Iterator[str]:
    """Walk over the fields and oneofs with rules, here and below."""
    if message.type_name in seen:
        return
    seen.add(message.type_name)
    for member in message.fields:
        if member.proto.options and ext_field in member.proto.options:
            yield f"{message.type_name}.{member.name}"
        if (inner := message_of(member)) is not None:
            yield from with_rules(inner, seen)
    for oneof in message.oneofs:
        if oneof.proto.options and ext_oneof in oneof.proto.options:
            yield f"{message.type_name}.{oneof.name}"


def reported(case: Case) -> Iterator[str]:
    """Walk over the fields and oneofs that a case is reported at."""
    for path in case.fields:
        at: DescMessage | None = INPUTS[case.method].desc()
        name = ""
        for step in re.sub(r"\[\d+\]", "", path).split("."):
            assert at is not None
            members: list[DescField | DescOneof] = [*at.fields, *at.oneofs]
            (member,) = [member for member in members if member.name == step]
            name, at = f"{at.type_name}.{member.name}", message_of(member)
        yield name


def test_every_field_with_a_rule_has_a_case_that_breaks_it() -> None:
    seen: set[str] = set()
    ruled = {name for message in INPUTS.values() for name in with_rules(message.desc(), seen)}
    assert len(ruled) > 100
    assert ruled - {name for case in BROKEN_RULES for name in reported(case)} == set()


@pytest.mark.parametrize("case", VALID_REQUESTS, ids=lambda case: case.id)
def test_request_at_the_edge_of_the_rules_is_taken(case: Case) -> None:
    assert violations(decoded(case)) == []


# The rules are the same for every listener: some requests show that each listener asks them.
A_HANDFUL = BROKEN_RULES[::20] + BROKEN_RULES[-3:]
PROJECT = "broken-registrations"


@pytest.fixture(scope="module")
def apis(sqlite_server: RunningServer) -> Iterator[dict[str, Api]]:
    """A client for each transport. Nothing is written here, so one project serves all the tests."""
    service = RegistrationsService.desc()
    token = make_token(PROJECT)
    clients = {name: Api(sqlite_server, name, token, PROJECT, service) for name in TRANSPORTS}
    yield clients
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", A_HANDFUL, ids=lambda case: case.id)
def test_request_with_broken_rule_is_refused_by_every_listener(
    apis: dict[str, Api], transport: str, case: Case
) -> None:
    reply = apis[transport].call(case.method, case.request)
    assert (reply.code, reply.reason) == ("invalid_argument", "INVALID_REQUEST")
    assert set(reply.violations) == case.fields
    assert reply.request_id


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", VALID_REQUESTS[::20], ids=lambda case: case.id)
def test_request_at_the_edge_of_the_rules_is_not_refused_by_them(
    apis: dict[str, Api], transport: str, case: Case
) -> None:
    dry_run = {"validateOnly": True} if case.method in WRITES else {}
    reply = apis[transport].call(case.method, case.request | dry_run)
    assert reply.reason != "INVALID_REQUEST", reply.violations
    assert reply.code in {"ok", "not_found"} or reply.reason in {"INVALID_PAGE_TOKEN", "COMMUNITY_UNKNOWN"}
