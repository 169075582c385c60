"""Broken rules of a registration's requests: each is refused with all the broken paths, and no others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dashkeeper.codec import decode
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from tests.broken_registrations import BROKEN_RULES, VALID_REQUESTS
from tests.violations import violations

if TYPE_CHECKING:
    from protobuf import Message

    from tests.cases import Case

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


@pytest.mark.parametrize("case", VALID_REQUESTS, ids=lambda case: case.id)
def test_request_at_the_edge_of_the_rules_is_taken(case: Case) -> None:
    assert violations(decoded(case)) == []
