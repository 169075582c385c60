"""The settings: where they come from, what each takes, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dashkeeper.config import PREFIX, Address, Settings, load_settings
from dashkeeper.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

pytestmark = pytest.mark.usefixtures("empty_place")

SECRET = "0123456789abcdef" * 4
SAFE = {"jwt_secret": SECRET, "jwt_issuer": "https://issuer", "jwt_audience": "dashkeeper"}


def pem(key: PublicKeyTypes) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_settings_nothing_set_are_the_documented_defaults() -> None:
    settings = load_settings()
    assert settings.database_url == "sqlite:///dashkeeper.db"
    assert (str(settings.http_address), str(settings.grpc_address)) == ("127.0.0.1:8080", "127.0.0.1:50051")
    assert (settings.jwt_leeway, settings.jwt_projects_claim) == (timedelta(seconds=30), "projects")
    assert (settings.max_request_bytes, settings.max_tiles) == (4 * 1024 * 1024, 500)
    assert (settings.max_dashboards, settings.purge_after) == (1_000_000, timedelta(days=30))
    assert (settings.require_etag, settings.reflection) == (False, True)
    assert (settings.cors_origins, settings.log_level) == ([], "info")


def test_settings_flag_goes_before_environment_before_file_before_default(
    monkeypatch: pytest.MonkeyPatch, empty_place: Path
) -> None:
    (empty_place / ".env").write_text("DASHKEEPER_MAX_TILES=1\nDASHKEEPER_LOG_LEVEL=debug\nOTHER=x\n")
    assert (load_settings().max_tiles, load_settings().log_level) == (1, "debug")
    monkeypatch.setenv("DASHKEEPER_MAX_TILES", "2")
    assert (load_settings().max_tiles, load_settings().log_level) == (2, "debug")
    assert load_settings(max_tiles="3").max_tiles == 3
    assert load_settings(max_tiles=None).max_tiles == 2
    assert load_settings().max_dashboards == 1_000_000


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_settings_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", "")
    assert getattr(load_settings(), name) == Settings.model_fields[name].default


@pytest.mark.parametrize("place", ["environment", "file"])
def test_settings_unknown_one_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, empty_place: Path, place: str
) -> None:
    if place == "environment":
        monkeypatch.setenv("DASHKEEPER_JWT_SECRETS", SECRET)
    else:
        (empty_place / ".env").write_text(f"DASHKEEPER_JWT_SECRETS={SECRET}\n")
    with pytest.raises(ConfigError, match=r"^DASHKEEPER_JWT_SECRETS ") as refusal:
        load_settings()
    assert SECRET not in str(refusal.value)


ACCEPTED: list[tuple[str, str, Any]] = [
    ("database_url", "sqlite:////var/lib/dashkeeper.db", "sqlite:////var/lib/dashkeeper.db"),
    ("http_address", "0.0.0.0:0", Address("0.0.0.0", 0)),  # noqa: S104 # only parsed
    ("http_address", "localhost:65535", Address("localhost", 65535)),
    ("http_address", "[::1]:8080", Address("::1", 8080)),
    ("http_address", "unix:/run/dashkeeper.sock", Address(path="/run/dashkeeper.sock")),
    ("http_address", "off", None),
    ("grpc_address", "off", None),
    ("grpc_address", "127.0.0.1:1", Address("127.0.0.1", 1)),
    ("jwt_algorithms", "HS256, HS512", ["HS256", "HS512"]),
    ("jwt_algorithms", "HS256", ["HS256"]),
    ("jwt_leeway", "0s", timedelta()),
    ("jwt_leeway", "5m", timedelta(minutes=5)),
    ("jwt_projects_claim", "https://example.com/projects", "https://example.com/projects"),
    ("cors_origins", "https://a.test, http://localhost:3000", ["https://a.test", "http://localhost:3000"]),
    ("max_request_bytes", "1024", 1024),
    ("max_request_bytes", "64MiB", 64 * 1024 * 1024),
    ("max_tiles", "1", 1),
    ("max_tiles", "500", 500),
    ("max_dashboards", "1", 1),
    ("require_etag", "true", True),
    ("reflection", "false", False),
    ("reflection", "0", False),
    ("purge_after", "12h", timedelta(hours=12)),
    ("purge_after", "36500d", timedelta(days=36_500)),
    ("log_level", "error", "error"),
    ("log_format", "json", "json"),
]


@pytest.mark.parametrize(("name", "text", "value"), ACCEPTED)
def test_settings_good_text_is_taken_from_everywhere(
    monkeypatch: pytest.MonkeyPatch, empty_place: Path, name: str, text: str, value: object
) -> None:
    assert getattr(load_settings(**{name: text}), name) == value
    (empty_place / ".env").write_text(f"{PREFIX}{name.upper()}='{text}'\n")
    assert getattr(load_settings(), name) == value
    (empty_place / ".env").unlink()
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", text)
    assert getattr(load_settings(), name) == value


REFUSED = [
    *(("database_url", url) for url in ("dashkeeper.db", "sqlite://", "sqlite:///", "mysql://h/d")),
    *(("database_url", url) for url in ("sqlite:///:memory:", "sqlite:///a.db?mode=ro")),
    *(("http_address", text) for text in ("localhost", ":80", "h:65536", "h:-1", "h:1:2", "::1:80", "unix:")),
    *(("http_address", text) for text in ("h h:80", "http://h:80", "OFF", "127.0.0.1:8080/")),
    # What happens to be JSON is no other text than any.
    *(("http_address", text) for text in ("8080", "null", "{}", "true")),
    ("grpc_address", "50051"),
    ("jwt_secret", "x" * 31),
    *(("jwt_public_key", text) for text in ("/no/such/file", ".", "-----BEGIN PUBLIC KEY-----", "x" * 5_000)),
    *(("jwt_private_key", text) for text in ("/no/such/file", "-----BEGIN PRIVATE KEY-----")),
    *(("jwt_leeway", text) for text in ("301s", "30", "-1s", "1.5m", "1w", "99999999999s")),
    *(("cors_origins", text) for text in ("example.com", "https://a/b", "https://a,ftp://b")),
    *(("max_request_bytes", text) for text in ("1023", "65MiB", "many", "-1")),
    *(("max_tiles", text) for text in ("0", "501", "1.5", "many")),
    ("max_dashboards", "0"),
    ("require_etag", "perhaps"),
    ("reflection", "2"),
    *(("purge_after", text) for text in ("36501d", "forever", "999999999d")),
    *(("log_level", text) for text in ("loud", "critical")),
    ("log_format", "xml"),
]


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_settings_bad_text_is_refused_by_the_name_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=f"{PREFIX}{name.upper()}"):
        load_settings(**{name: text})
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", text)
    with pytest.raises(ConfigError, match=f"{PREFIX}{name.upper()}") as refusal:
        load_settings()
    assert "\n" not in str(refusal.value)
    assert "dictionary" not in str(refusal.value)  # a word of the library, not of a person


def test_settings_bad_secret_is_refused_without_telling_it() -> None:
    for name in ("jwt_secret", "jwt_private_key"):
        with pytest.raises(ConfigError) as refusal:
            load_settings(**{name: "geheim"})
        assert "geheim" not in str(refusal.value)


def test_settings_several_bad_ones_are_all_named_in_one_line() -> None:
    with pytest.raises(ConfigError) as refusal:
        load_settings(max_tiles="0", log_level="loud")
    for name in ("MAX_TILES", "LOG_LEVEL"):
        assert f"{PREFIX}{name}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


UNSAFE: list[tuple[str, dict[str, Any], str]] = [
    ("no key", {**SAFE, "jwt_secret": None}, "JWT_SECRET"),
    ("no issuer", {**SAFE, "jwt_issuer": None}, "JWT_ISSUER"),
    ("no audience", {**SAFE, "jwt_audience": None}, "JWT_AUDIENCE"),
    ("secret with RSA", {**SAFE, "jwt_algorithms": "RS256"}, "JWT_ALGORITHMS"),
    ("secret with RSA too", {**SAFE, "jwt_algorithms": "HS256,RS256"}, "JWT_ALGORITHMS"),
    ("none", {**SAFE, "jwt_algorithms": "none"}, "JWT_ALGORITHMS"),
    ("secret too short", {**SAFE, "jwt_secret": "x" * 63, "jwt_algorithms": "HS512"}, "JWT_ALGORITHMS"),
]


@pytest.mark.parametrize(("flags", "setting"), [row[1:] for row in UNSAFE], ids=[row[0] for row in UNSAFE])
def test_settings_unsafe_tokens_are_refused(flags: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigError, match=setting):
        load_settings(**flags).token_rules()


def test_settings_public_key_takes_only_its_own_algorithms() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    flags = {**SAFE, "jwt_secret": None, "jwt_public_key": pem(key)}
    _, rules = load_settings(**flags).token_rules()
    assert [*rules.algorithms] == ["EdDSA"]
    for wrong in ("HS256", "RS256", "ES256"):
        with pytest.raises(ConfigError, match="JWT_ALGORITHMS"):
            load_settings(**flags, jwt_algorithms=wrong).token_rules()


def test_settings_secret_and_public_key_together_are_refused() -> None:
    key = pem(ed25519.Ed25519PrivateKey.generate().public_key())
    with pytest.raises(ConfigError, match="only one of DASHKEEPER_JWT_SECRET and DASHKEEPER_JWT_PUBLIC_KEY"):
        load_settings(**SAFE, jwt_public_key=key)


def test_settings_short_rsa_key_is_refused() -> None:
    key = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 # what is to be refused
    with pytest.raises(ConfigError, match=r"JWT_PUBLIC_KEY.*2048"):
        load_settings(jwt_public_key=pem(key))


def test_settings_public_key_file_is_as_good_as_its_text(empty_place: Path) -> None:
    text = pem(ed25519.Ed25519PrivateKey.generate().public_key())
    path = empty_place / "key.pem"
    path.write_text(text)
    for given in (text, str(path), "key.pem"):
        settings = load_settings(jwt_public_key=given, jwt_issuer="i", jwt_audience="a")
        assert [*settings.token_rules()[1].algorithms] == ["EdDSA"]


LOOPBACK = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/run/socket"]
REACHABLE = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1"]


@pytest.mark.parametrize("text", [*LOOPBACK, *REACHABLE])
def test_address_any_kind_knows_whether_it_is_loopback_and_reads_back(text: str) -> None:
    address = load_settings(http_address=text).http_address
    assert address is not None
    assert address.is_loopback is (text in LOOPBACK)
    assert str(address) == text
