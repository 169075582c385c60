"""Makes tokens, for operators, tests and development."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt

from dashkeeper.auth import ORGANISATION_ID, PROJECT_ID, READ, SUBJECT, WRITE
from dashkeeper.config import PREFIX, naming
from dashkeeper.errors import ConfigError
from dashkeeper.keys import load_private_key, public_key_algorithms, secret_algorithms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashkeeper.config import Settings

_LONGEST = timedelta(days=3_660)


def make_token(
    settings: Settings,
    *,
    subject: str,
    projects: Sequence[str],
    scope: str,
    expires: timedelta,
    organisations: Sequence[str] = (),
) -> str:
    """Sign a token with the configured secret or private key.

    Without organisations, those of its projects aren't limited.

    Raises:
        ConfigError: If there is nothing to sign with, or no issuer or audience.
    """
    if not SUBJECT.fullmatch(subject):
        raise ConfigError("--subject must be 1 to 255 characters without control characters")
    for project in projects:
        if project != "*" and not PROJECT_ID.fullmatch(project):
            raise ConfigError(f"--project must match {PROJECT_ID.pattern}, or be *")
    for organisation in organisations:
        if not ORGANISATION_ID.fullmatch(organisation):
            raise ConfigError("--organisation must be 1 to 128 characters without control characters")
    if not set(scope.split()) <= {READ, WRITE} or not scope.split():
        raise ConfigError(f'--scope must hold "{READ}" or "{WRITE}" or both, separated by a space')
    if not timedelta(0) < expires <= _LONGEST:
        raise ConfigError(f"--expires must be more than 0s and at most {_LONGEST.days}d")
    if not settings.jwt_issuer or not settings.jwt_audience:
        raise ConfigError(f"set {PREFIX}JWT_ISSUER and {PREFIX}JWT_AUDIENCE: a token must name both")
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": subject,
        "iat": now,
        "exp": now + int(expires.total_seconds()),
        settings.jwt_projects_claim: list(projects),
        "scope": scope,
    }
    if organisations:
        claims["organisations"] = list(organisations)
    if settings.jwt_secret:
        key: Any = settings.jwt_secret.get_secret_value()
        possible = secret_algorithms(key)
    elif settings.jwt_private_key:
        with naming("JWT_PRIVATE_KEY"):
            key = load_private_key(settings.jwt_private_key.get_secret_value())
            possible = public_key_algorithms(key.public_key())
    else:
        raise ConfigError(f"no key to sign with: set {PREFIX}JWT_SECRET or {PREFIX}JWT_PRIVATE_KEY")
    return jwt.encode(claims, key, algorithm=settings.algorithms(possible)[0])
