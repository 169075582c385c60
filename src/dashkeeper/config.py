"""The settings: from the environment (prefix `DASHKEEPER_`), `.env` or a flag, checked at once."""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from dashkeeper.auth import StaticKey, TokenRules
from dashkeeper.database_url import check_database_url, shown_database_url
from dashkeeper.errors import ConfigError
from dashkeeper.keys import (
    load_private_key,
    load_public_key,
    public_key_algorithms,
    secret_algorithms,
)
from dashkeeper.variables import PREFIX, read_variables

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens: a host and port (0: any free one), or a Unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def with_port(self, port: int) -> Address:
        """Return this address with the port that was taken; a Unix socket has none."""
        return self if self.path else Address(self.host, port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: so must be all that a name resolves to."""
        if self.path:
            return True
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False
        return all(ip_address(str(where[0])).is_loopback for *_, where in found)


def _parse_address(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value == "off":
        return None
    if value.startswith("unix:") and len(value) > len("unix:"):
        return Address(path=value.removeprefix("unix:"))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]+)):(\d{1,5})", value)
    if match is None or int(match[3]) > 65535:
        raise ValueError('must be "host:port", "unix:/path" or "off"')
    return Address(host=match[1] or match[2], port=int(match[3]))


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(value: object) -> object:
    """Return the duration that a text such as 30s, 15m, 12h or 30d names."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,9})([smhd])", value.strip())
    if match is None:
        raise ValueError("must be a whole number and s, m, h or d, such as 30s, 15m, 12h or 30d")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def format_duration(duration: timedelta) -> str:
    """Write a duration as parse_duration reads it, in the largest unit that fits."""
    seconds = int(duration.total_seconds())
    unit = next((unit for unit in "dhm" if seconds and seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds // _SECONDS[unit]}{unit}"


def _on_one_line(key: str | None) -> str | None:
    return " ".join(key.split()) if key and "-----BEGIN" in key else key


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
OptionalAddress = Annotated[
    Address | None,
    BeforeValidator(_parse_address),
    PlainSerializer(lambda value: str(value or "off")),
]
CommaList = Annotated[list[str], BeforeValidator(_split), PlainSerializer(",".join)]


@contextlib.contextmanager
def naming(setting: str) -> Generator[None]:
    """Make of a ValueError the ConfigError of a setting: a file may be another than when it was checked."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{PREFIX}{setting}: {error}") from error


class Settings(BaseModel):
    """What the server runs with. Each field is a setting; its description is the help text."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    database_url: Annotated[str, PlainSerializer(shown_database_url)] = Field(
        "sqlite:///dashkeeper.db",
        repr=False,
        description="where everything is kept: sqlite:///path, or a libpq URL postgresql://...",
    )
    database_pool_size: int = Field(10, ge=1, le=1_000, description="most connections to PostgreSQL")
    http_address: OptionalAddress = Field(
        Address("127.0.0.1", 8080),
        description='Connect and gRPC-Web: host:port (port 0: any), unix:/path or "off"',
    )
    grpc_address: OptionalAddress = Field(
        Address("127.0.0.1", 50051), description='gRPC: host:port (port 0: any), unix:/path or "off"'
    )
    jwt_secret: SecretStr | None = Field(
        None, description="shared secret that signs tokens (HS256, HS384, HS512)"
    )
    jwt_public_key: Annotated[str | None, PlainSerializer(_on_one_line)] = Field(
        None, description="public key that tokens verify with: PEM text or a file"
    )
    jwt_private_key: SecretStr | None = Field(
        None, description="private key that `dashkeeper token` signs with: PEM text or a file"
    )
    jwt_algorithms: CommaList = Field(
        [], description="algorithms taken, separated by commas; by default the first that fits the key"
    )
    jwt_issuer: str | None = Field(None, description="the `iss` a token must have")
    jwt_audience: str | None = Field(None, description="the `aud` a token must have")
    jwt_leeway: Duration = Field(
        timedelta(seconds=30), le=timedelta(minutes=5), description="by how much clocks may differ"
    )
    jwt_projects_claim: str = Field(
        "projects", min_length=1, description="the claim that lists a token's projects"
    )
    cors_origins: CommaList = Field(
        [], description="origins of browser pages that may call, separated by commas (https://example.com)"
    )
    max_request_bytes: ByteSize = Field(
        ByteSize(4 * 1024 * 1024), ge=1024, le=64 * 1024 * 1024, description="largest request, decompressed"
    )
    max_tiles: int = Field(500, ge=1, le=500, description="most tiles of a dashboard")
    revisions_kept: int = Field(
        100, ge=1, le=1_000_000, description="how many revisions of a dashboard are kept"
    )
    max_dashboards: int = Field(
        1_000_000, ge=1, description="most dashboards of a project, deleted ones among them"
    )
    require_etag: bool = Field(
        False, description="refuse every write of an existing dashboard without an etag"
    )
    purge_after: Duration = Field(
        timedelta(days=30),
        le=timedelta(days=36_500),
        description="how long a deleted dashboard can at least be brought back, such as 30d",
    )
    keep_alive: Duration = Field(
        timedelta(seconds=75),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="how long an idle HTTP connection is kept: longer than proxies in front keep theirs",
    )
    request_timeout: Duration = Field(
        timedelta(seconds=30),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="how long a request's head and body may take to arrive, from the connect on",
    )
    reflection: bool = Field(True, description="serve reflection on the gRPC listener")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    log_format: Literal["text", "json"] | None = Field(
        None, description="text or json; by default text on a terminal, else JSON"
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        check_database_url(url)
        return url

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s@]+", origin):
                raise ValueError("each must be an origin: scheme://host[:port], without an account or a path")
        return origins

    @field_validator("jwt_secret")
    @classmethod
    def _long_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            secret_algorithms(secret.get_secret_value())
        return secret

    @field_validator("jwt_public_key")
    @classmethod
    def _good_public_key(cls, pem_or_path: str | None) -> str | None:
        if pem_or_path is not None:
            public_key_algorithms(load_public_key(pem_or_path))
        return pem_or_path

    @field_validator("jwt_private_key")
    @classmethod
    def _good_private_key(cls, pem_or_path: SecretStr | None) -> SecretStr | None:
        if pem_or_path is not None:
            public_key_algorithms(load_private_key(pem_or_path.get_secret_value()).public_key())
        return pem_or_path

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.jwt_secret and self.jwt_public_key:
            raise ValueError(f"set only one of {PREFIX}JWT_SECRET and {PREFIX}JWT_PUBLIC_KEY")
        return self

    def token_rules(self) -> tuple[StaticKey, TokenRules]:
        """Return the key and the rules that tokens are checked by.

        Raises:
            ConfigError: If tokens couldn't be checked safely.
        """
        if self.jwt_secret:
            key: Any = self.jwt_secret.get_secret_value()
            possible = secret_algorithms(key)
        elif self.jwt_public_key:
            with naming("JWT_PUBLIC_KEY"):
                key = load_public_key(self.jwt_public_key)
                possible = public_key_algorithms(key)
        else:
            raise ConfigError(
                f"no key to verify tokens with: set {PREFIX}JWT_SECRET or {PREFIX}JWT_PUBLIC_KEY"
                " (or use `serve --dev` to try it out)"
            )
        if not self.jwt_issuer or not self.jwt_audience:
            missing = "JWT_AUDIENCE" if self.jwt_issuer else "JWT_ISSUER"
            raise ConfigError(f"set {PREFIX}{missing}: without it, tokens made for others would be taken")
        return StaticKey(key), TokenRules(
            algorithms=self.algorithms(possible),
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
            leeway=self.jwt_leeway.total_seconds(),
            projects_claim=self.jwt_projects_claim,
        )

    def algorithms(self, possible: Sequence[str]) -> Sequence[str]:
        """Return the algorithms to use, of those that a key can serve.

        Raises:
            ConfigError: If others are set.
        """
        if wrong := [name for name in self.jwt_algorithms if name not in possible]:
            raise ConfigError(
                f"{PREFIX}JWT_ALGORITHMS names {wrong[0]}, which this key can't serve:"
                f" use {', '.join(possible)}"
            )
        return self.jwt_algorithms or possible[:1]


def load_settings(**flags: Any) -> Settings:
    """Return the settings: flags before the environment before `.env` before defaults.

    White space around a value is no part of it; a value of nothing else counts as not set.

    Raises:
        ConfigError: If a setting is unknown or wrong.
    """
    try:
        return Settings(**read_variables(flags, Settings.model_fields))  # pyright: ignore[reportArgumentType] # texts
    except ValidationError as error:
        raise ConfigError("; ".join(_in_words(problem) for problem in error.errors())) from error


def _in_words(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    return f"{PREFIX}{str(problem['loc'][0]).upper()}: {message}"
