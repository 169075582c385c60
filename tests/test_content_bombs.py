"""Contents that cost far more to check than to send: answered at little cost, while others are served on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from tests.api import Api
from tests.attack import PROJECT, assert_clean, at_little_cost, unharmed
from tests.large_contents import DEEP, LARGE, deep_request, large_request
from tests.server import make_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer


@pytest.fixture(params=["grpc", "connect-proto"])
def api(attacked: RunningServer, request: pytest.FixtureRequest) -> Iterator[Api]:
    with unharmed(attacked):
        client = Api(attacked, request.param, make_token(PROJECT), PROJECT, RegistrationsService.desc())
        yield client
        client.close()


@pytest.mark.parametrize("name", LARGE)
def test_large_content_is_answered_at_little_cost(attacked: RunningServer, api: Api, name: str) -> None:
    body, valid = large_request(name), LARGE[name][1]
    with at_little_cost(attacked):
        reply = api.send("UpdateContent", body)
    assert reply.code in ({"not_found"} if valid else {"invalid_argument", "resource_exhausted"})
    assert_clean(reply.message[:2_000])


@pytest.mark.parametrize("times", [17, 46, 48, 10_000])
@pytest.mark.parametrize("name", DEEP)
def test_deep_content_is_refused_at_little_cost(
    attacked: RunningServer, api: Api, name: str, times: int
) -> None:
    body = deep_request(name, times)
    with at_little_cost(attacked):
        reply = api.send("UpdateContent", body)
    assert reply.code == "invalid_argument"
    assert_clean(reply.message[:2_000])
