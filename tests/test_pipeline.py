"""What the pipeline refuses to be made of."""

from __future__ import annotations

import pytest

from dashkeeper.auth import Authenticator, StaticKey, TokenRules
from dashkeeper.gen.grpc.health.v1.health_connect import Health
from dashkeeper.pipeline import Pipeline, Service
from tests.server import AUDIENCE, ISSUER, SECRET


def test_pipeline_of_a_service_that_streams_is_refused() -> None:
    rules = TokenRules(algorithms=("HS256",), issuer=ISSUER, audience=AUDIENCE)
    service = Service(Health.desc(), lambda _: None)

    with pytest.raises(TypeError, match=r"/grpc.health.v1.Health/Watch is server_streaming"):
        Pipeline(Authenticator(StaticKey(SECRET), rules), [service], max_request_bytes=1024)
