"""Who calls, and what they may do: from the headers and the method alone."""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import jwt

from dashkeeper.errors import (
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
    Violation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectrpc.request import Headers

READ = "dashboards:read"
WRITE = "dashboards:write"

REQUIRED_SCOPE: Mapping[str, str] = {
    "/dashboards.v1.DashboardsService/List": READ,
    "/dashboards.v1.DashboardsService/Get": READ,
    "/dashboards.v1.DashboardsService/Create": WRITE,
    "/dashboards.v1.DashboardsService/Update": WRITE,
    "/dashboards.v1.DashboardsService/Upsert": WRITE,
    "/dashboards.v1.DashboardsService/Delete": WRITE,
    "/dashboards.v1.DashboardsService/Undelete": WRITE,
    "/dashboards.v1.DashboardsService/ListRevisions": READ,
    "/dashboards.v1.DashboardsService/GetRevision": READ,
    "/dashboards.v1.DashboardsService/Restore": WRITE,
    "/registrations.v1.RegistrationsService/List": READ,
    "/registrations.v1.RegistrationsService/Get": READ,
    "/registrations.v1.RegistrationsService/Create": WRITE,
    "/registrations.v1.RegistrationsService/Update": WRITE,
    "/registrations.v1.RegistrationsService/Delete": WRITE,
    "/registrations.v1.RegistrationsService/Undelete": WRITE,
    "/registrations.v1.RegistrationsService/GetContent": READ,
    "/registrations.v1.RegistrationsService/UpdateContent": WRITE,
    "/registrations.v1.RegistrationsService/ListContents": READ,
    "/registrations.v1.RegistrationsService/RestoreContent": WRITE,
}
"""What each RPC needs. One that isn't listed is refused to everybody."""

PROJECT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
ORGANISATION_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
SUBJECT = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,255}")
_MAX_TOKEN_LENGTH = 16 * 1024
_CACHE_SECONDS = 300
_CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who may do the call, in which project: what `authorise` found."""

    subject: str
    project_id: str
    organisations: frozenset[str] | None = None
    """The organisations whose registrations are there for the caller; None: all."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    subject: str
    projects: frozenset[str]
    scope: frozenset[str]
    organisations: frozenset[str] | None
    expires_at: float


class Keys(Protocol):
    """Where the key of a token comes from."""

    def key_for(self, header: Mapping[str, Any]) -> jwt.PyJWK | str | bytes | Any:
        """Return the key that must have signed a token with this header.

        Raises:
            jwt.InvalidKeyError: If there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class StaticKey:
    """One key for every token: a shared secret, or a public key."""

    key: Any

    def key_for(self, header: Mapping[str, Any]) -> Any:
        """Return the key, whatever the header says."""
        return self.key


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must be to be taken."""

    algorithms: Sequence[str]
    issuer: str
    audience: str
    leeway: float = 30.0
    """Seconds by which clocks may differ."""
    projects_claim: str = "projects"


class Authenticator:
    """Verifies tokens, and remembers the verified for the lesser of their expiry and 5 minutes."""

    def __init__(self, keys: Keys, rules: TokenRules) -> None:
        self._keys = keys
        self._rules = rules
        self._verified: OrderedDict[bytes, tuple[Claims, float]] = OrderedDict()

    def authenticate(self, headers: Headers) -> Claims:
        """Return the claims of the token in the `authorization` header (RFC 6750 §2.1).

        Raises:
            UnauthenticatedError: If there is no such token or it doesn't verify.
        """
        values = headers.getall("authorization")
        scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN_LENGTH:
            raise UnauthenticatedError("malformed header" if values else "no header")
        digest = hashlib.sha256(token.encode()).digest()
        # The remembering is measured, so that a clock set back doesn't prolong it; what a token says isn't.
        now = time.monotonic()
        if (known := self._verified.get(digest)) is not None:
            claims, until = known
            if now < until and time.time() < claims.expires_at:
                return claims
            del self._verified[digest]
        claims = self._verify(token)
        while len(self._verified) >= _CACHE_SIZE:
            self._verified.popitem(last=False)
        self._verified[digest] = (claims, now + _CACHE_SECONDS)
        return claims

    def _verify(self, token: str) -> Claims:
        rules = self._rules
        try:
            header = jwt.get_unverified_header(token)
            if "crit" in header:
                raise jwt.InvalidTokenError("the header `crit` is not supported")
            payload: dict[str, Any] = jwt.decode(
                token,
                self._keys.key_for(header),
                algorithms=list(rules.algorithms),
                issuer=rules.issuer,
                audience=rules.audience,
                leeway=rules.leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            return Claims(
                subject=_subject(payload["sub"]),
                projects=_words(payload.get(rules.projects_claim)),
                scope=_words(payload.get("scope"), split=True),
                organisations=_organisations(payload["organisations"])
                if "organisations" in payload
                else None,
                expires_at=float(payload["exp"]) + rules.leeway,
            )
        except Exception as error:  # noqa: BLE001 # see below
            # Everything here is worked out from what an attacker may have written: whatever
            # goes wrong, the token is refused, and the caller learns nothing more.
            raise UnauthenticatedError(f"{type(error).__name__}: {error}") from None


def authorise(procedure: str, headers: Headers, claims: Claims) -> Caller:
    """Return the caller, if the token allows this procedure in the project the headers name.

    Raises:
        InvalidRequestError: If `x-project-id` is missing or malformed.
        PermissionDeniedError: If the token doesn't name the project, or lacks the scope.
    """
    project_ids = headers.getall("x-project-id")
    if len(project_ids) != 1 or not PROJECT_ID.fullmatch(project_ids[0]):
        what = "must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}" if project_ids else "is missing"
        what = "must be sent once" if len(project_ids) > 1 else what
        raise InvalidRequestError(
            f"the header x-project-id {what}: it selects the project",
            reason="INVALID_PROJECT_ID",
            violations=[Violation(("x-project-id",), what)],
        )
    project_id = project_ids[0]
    if project_id not in claims.projects and "*" not in claims.projects:
        raise PermissionDeniedError(
            f'the token does not allow project "{project_id}"', reason="PROJECT_NOT_ALLOWED"
        )
    required = REQUIRED_SCOPE.get(procedure)
    if required not in claims.scope and not (required == READ and WRITE in claims.scope):
        raise PermissionDeniedError(
            f"the token's scope does not allow {procedure}: it needs {required}"
            if required
            else f"{procedure} is not allowed to anybody",
            reason="SCOPE_NOT_ALLOWED",
        )
    return Caller(claims.subject, project_id, claims.organisations)


def _subject(value: object) -> str:
    if not isinstance(value, str) or not SUBJECT.fullmatch(value):
        raise jwt.InvalidTokenError("`sub` must be 1 to 255 characters without control characters")
    value.encode()  # a lone surrogate can't be stored
    return value


def _organisations(value: object) -> frozenset[str]:
    """Return those that can be: no other is in any database, and some can't even be asked for."""
    return frozenset(filter(ORGANISATION_ID.fullmatch, _words(value)))


def _words(value: object, *, split: bool = False) -> frozenset[str]:
    """Return the strings of a claim: an array's, or (RFC 9068 §2.2.3.1) a space-delimited one's."""
    if split and isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list):
        items = cast("list[object]", value)
        return frozenset(item for item in items if isinstance(item, str))
    return frozenset()
