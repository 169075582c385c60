"""Where settings come from: white space around them, white space alone, Kubernetes' variables, typos."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import jwt
import pytest

from dashkeeper.config import PREFIX, Settings, load_settings
from dashkeeper.errors import ConfigError
from tests.api import Api
from tests.server import AUDIENCE, ISSUER, SECRET, make_token, running_server
from tests.test_settings import ACCEPTED

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("empty_place")

SPACES = (" \t{}", "{}\n", "\r\n{}\r\n", "\u00a0{}\u2003\n\n")


TEXTS = [
    *ACCEPTED,
    ("database_url", "postgresql://u:p@h/d", "postgresql://u:p@h/d"),
    ("jwt_issuer", "https://issuer", "https://issuer"),
    ("jwt_audience", "dashkeeper", "dashkeeper"),
    ("log_level", "warning", "warning"),
]


@pytest.mark.parametrize("around", SPACES)
@pytest.mark.parametrize(("name", "text", "value"), TEXTS)
def test_white_space_around_a_value_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, empty_place: Path, name: str, text: str, value: object, around: str
) -> None:
    assert getattr(load_settings(**{name: around.format(text)}), name) == value
    (empty_place / ".env").write_bytes(f"{PREFIX}{name.upper()}='{around.format(text)}'\n".encode())
    assert getattr(load_settings(), name) == value
    (empty_place / ".env").unlink()
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", around.format(text))
    assert getattr(load_settings(), name) == value


def test_every_kind_of_setting_is_tried_with_white_space() -> None:
    kinds = {name: str(field.annotation) for name, field in Settings.model_fields.items()}
    tried = {kinds[name] for name, _, _ in TEXTS} | {kinds["jwt_secret"]}  # secrets: below
    assert {name for name, kind in kinds.items() if kind not in tried} == set()


@pytest.mark.parametrize("blank", ["", " ", "\n", "\r\n\t\u00a0"])
@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_value_of_white_space_alone_counts_as_not_set(
    monkeypatch: pytest.MonkeyPatch, empty_place: Path, name: str, blank: str
) -> None:
    default = Settings.model_fields[name].default
    variable = f"{PREFIX}{name.upper()}"
    assert getattr(load_settings(**{name: blank}), name) == default
    monkeypatch.setenv(variable, blank)
    assert getattr(load_settings(), name) == default
    text = next((text for known, text, _ in TEXTS if known == name), None)
    if text is not None:  # what stands in the next place holds
        (empty_place / ".env").write_text(f"{variable}={text}\n", encoding="utf-8")
        expected = getattr(load_settings(**{name: text}), name)
        assert getattr(load_settings(**{name: blank}), name) == expected
    (empty_place / ".env").write_text(f"{variable}='{blank}'\n", encoding="utf-8")
    assert getattr(load_settings(), name) == default


def test_server_takes_tokens_whose_secret_came_with_a_newline(empty_place: Path, project_id: str) -> None:
    path = empty_place / "x.db"
    settings = {"JWT_SECRET": SECRET, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    settings |= {"DATABASE_URL": f"sqlite:///{path}", "LOG_FORMAT": "json", "HTTP_ADDRESS": "127.0.0.1:0"}
    settings = {name: f"{value}\n" for name, value in settings.items()}
    with running_server(empty_place, **settings) as server:
        api = Api(server, "connect-json", make_token(project_id), project_id)
        assert api.call("List").code == "ok"
        api.close()
    assert sorted(it.name for it in empty_place.iterdir() if it.name.startswith("x.db")) == ["x.db"]


def test_token_command_signs_with_the_secret_without_its_newline(empty_place: Path) -> None:
    (empty_place / "secret").write_text(f"{SECRET}\n")
    environment = os.environ | {
        "DASHKEEPER_JWT_SECRET": (empty_place / "secret").read_text(),
        "DASHKEEPER_JWT_ISSUER": f"{ISSUER}\r\n",
        "DASHKEEPER_JWT_AUDIENCE": f" {AUDIENCE}\n",
    }
    run = subprocess.run(
        [sys.executable, "-m", "dashkeeper", "token", "--project", "p"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    jwt.decode(run.stdout.strip(), SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER)


def test_file_of_settings_may_begin_with_a_byte_order_mark(empty_place: Path) -> None:
    (empty_place / ".env").write_text("\ufeffDASHKEEPER_MAX_TILES=7\r\n", encoding="utf-8")
    assert load_settings().max_tiles == 7


BROKEN_LINES = ("MAX_TILES 7", "MAX_TILES: 7", "=7", "JWT_ISSUER='https://issuer")


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_line_of_the_file_that_is_no_setting_is_refused_by_its_number(empty_place: Path, line: str) -> None:
    (empty_place / ".env").write_text(f"# ours\n\nOTHER=x\n{line}\n")
    with pytest.raises(ConfigError, match=r"^\.env can't be read: line 4 is not NAME=value") as refusal:
        load_settings()
    assert line not in str(refusal.value)


def test_name_without_a_value_in_the_file_is_refused(empty_place: Path) -> None:
    (empty_place / ".env").write_text("OTHER\nDASHKEEPER_REQUIRE_ETAG\n")
    with pytest.raises(ConfigError, match=r"^DASHKEEPER_REQUIRE_ETAG stands in \.env without =: write"):
        load_settings()


def test_folder_called_as_the_file_is_let_be(empty_place: Path) -> None:
    (empty_place / ".env").mkdir()
    assert load_settings() == Settings()  # pyright: ignore[reportCallIssue] # all have defaults


def test_setting_that_is_not_utf8_is_refused_by_its_name() -> None:
    for name in Settings.model_fields:
        with pytest.raises(ConfigError, match=rf"^{PREFIX}{name.upper()}: must be text in UTF-8$"):
            load_settings(**{name: "a\udcff"})


def links(service: str, port: int, protocol: str = "tcp", name: str = "") -> dict[str, str]:
    """The variables that a kubelet makes for a service."""
    host = "10.96.0.17"
    prefix = service.upper().replace("-", "_")
    url = f"{protocol}://{host}:{port}"
    of_the_port = f"{prefix}_PORT_{port}_{protocol.upper()}"
    made = {
        f"{prefix}_SERVICE_HOST": host,
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_PORT": url,
        of_the_port: url,
        f"{of_the_port}_PROTO": protocol,
        f"{of_the_port}_PORT": str(port),
        f"{of_the_port}_ADDR": host,
    }
    return made | ({f"{prefix}_SERVICE_PORT_{name.upper().replace('-', '_')}": str(port)} if name else {})


SERVICES = {
    "plain": links("dashkeeper", 80),
    "named port": links("dashkeeper", 8080, name="http"),
    "port of two words": links("dashkeeper", 8080, name="http-metrics"),
    "other service": links("dashkeeper-grpc", 50051, name="grpc"),
    "service of two words": links("dashkeeper-db-rw", 5432),
    "with digits": links("dashkeeper-2", 80),
    "udp": links("dashkeeper", 53, "udp", "dns"),
    "sctp": links("dashkeeper-x", 9, "sctp"),
    "called as a setting": links("dashkeeper-http-address", 80),
    "IPv6": {"DASHKEEPER_SERVICE_HOST": "fd00::1", "DASHKEEPER_PORT": "tcp://[fd00::1]:80"},
}


@pytest.mark.parametrize("service", SERVICES)
def test_kubernetes_service_links_are_let_be(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    for name, value in SERVICES[service].items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()  # pyright: ignore[reportCallIssue] # all have defaults


TYPOS = {
    "DASHKEEPER_JWT_SECRETS": "DASHKEEPER_JWT_SECRET",
    "DASHKEEPER_DATABASE_URI": "DASHKEEPER_DATABASE_URL",
    "DASHKEEPER_HTTP_ADRESS": "DASHKEEPER_HTTP_ADDRESS",
    "dashkeeper_jwt_audiences": "DASHKEEPER_JWT_AUDIENCE",
    "DASHKEEPER_CORS_ORIGIN": "DASHKEEPER_CORS_ORIGINS",
    # They end as service links do, and are none.
    "DASHKEEPER_PORT": None,
    "DASHKEEPER_HTTP_PORT": None,
    "DASHKEEPER_GRPC_PORT": None,
    "DASHKEEPER_PORT_TCP": None,
    "DASHKEEPER_PORT_80": None,
    "DASHKEEPER_SERVICE": None,
    "DASHKEEPER_SERVICE_HOSTS": None,
    "DASHKEEPERSERVICE_HOST": "",
    "dashkeeper_service_host": None,
    "DASHKEEPER_COLOUR": None,
    "DASHKEEPER_": None,
}


@pytest.mark.parametrize("place", ["environment", "file"])
@pytest.mark.parametrize("typo", TYPOS)
def test_typo_is_refused_with_the_name_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, empty_place: Path, typo: str, place: str
) -> None:
    if place == "file":
        (empty_place / ".env").write_text(f"{typo}=8080\n")
    else:
        monkeypatch.setenv(typo, "8080")
    if TYPOS[typo] == "":  # no name of ours at all
        load_settings()
        return
    with pytest.raises(ConfigError, match=rf"^{typo} is not a setting of this version: ") as refusal:
        load_settings()
    meant = TYPOS[typo]
    assert meant is None or f"did you mean {meant}?" in str(refusal.value)
    assert "8080" not in str(refusal.value)
