"""JWT_PUBLIC_KEY and JWT_PRIVATE_KEY: text or a file; what each says to what it can't use."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from dashkeeper.config import PREFIX, Settings, load_settings
from dashkeeper.errors import ConfigError
from dashkeeper.tokens import make_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def private(form: PrivateFormat, password: bytes | None = None, key: Any = KEY) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption).decode()


def certificate() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    return made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


PRIVATE = private(PrivateFormat.PKCS8)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
CERTIFICATE = certificate()
EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

TAKEN = {
    "jwt_public_key": {
        "SubjectPublicKeyInfo": PUBLIC,
        "PKCS 1": KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode(),
    },
    "jwt_private_key": {
        "PKCS 8": PRIVATE,
        "PKCS 1": private(PrivateFormat.TraditionalOpenSSL),
        "SEC 1, as openssl writes it": EC_PARAMETERS + private(PrivateFormat.TraditionalOpenSSL, key=EC_KEY),
        "beside its certificate": CERTIFICATE + PRIVATE,
    },
}
WRAPPINGS = ("{}", "\n \r\n{}\n\n", "\ufeff{}", "a key for tests\n{}")


@pytest.mark.parametrize(
    ("setting", "kind"), [(name, kind) for name, kinds in TAKEN.items() for kind in kinds]
)
def test_key_is_taken_from_text_and_from_a_file(tmp_path: Path, setting: str, kind: str) -> None:
    text = TAKEN[setting][kind]
    path = tmp_path / "a key.pem"
    for wrapping in WRAPPINGS:
        for line_end in ("\n", "\r\n"):
            path.write_bytes(wrapping.format(text.replace("\n", line_end)).encode())
            for value in (str(path), f" {path}\n"):
                assert getattr(load_settings(**{setting: value}), setting) is not None
    for value in (text, f" \n{text}\n\n", text.replace("\n", "\r\n"), text.replace("\n", " ")):
        assert getattr(load_settings(**{setting: value}), setting) is not None


# What is given as text and in a file: words of each refusal, for the public and for the private key.
OTHER_THINGS: dict[str, tuple[str, str, str]] = {
    "certificate": (
        CERTIFICATE,
        "is a certificate: take the public key out of it",
        "is a certificate: signing",
    ),
    "private key": (PRIVATE, "is a private key, which only who signs tokens should have", ""),
    "private key in PKCS 1": (private(PrivateFormat.TraditionalOpenSSL), "is a private key", ""),
    "public key before a private one": (PUBLIC + PRIVATE, "is a private key", ""),
    "public key": (PUBLIC, "", "is a public key: signing needs its private key"),
    "encrypted private key": (
        private(PrivateFormat.PKCS8, b"geheim"),
        "is a private key",
        "is encrypted, and nobody is asked for its password",
    ),
    "encrypted private key in PKCS 1": (
        private(PrivateFormat.TraditionalOpenSSL, b"geheim"),
        "is a private key",
        "is encrypted",
    ),
    "OpenSSH's private key": (private(PrivateFormat.OpenSSH), "is a private key", "ssh-keygen -p -m PKCS8"),
    r"public key with \n": (PUBLIC.replace("\n", r"\n"), r"has \n where lines should end", r"has \n where"),
    r"private key with \n": (PRIVATE.replace("\n", r"\n"), r"has \n where lines", r"has \n where lines"),
    r"private key with \r\n": (PRIVATE.replace("\n", r"\r\n"), r"has \n where", r"has \n where"),
    "public key cut off": (PUBLIC[:-40], "is not a PEM public key, whole", "is a public key"),
    "private key cut off": (PRIVATE[:-40], "is a private key", "is not a PEM private key, whole"),
    "public key garbled": (PUBLIC.replace("M", "!", 1), "is not a PEM public key, whole", "is a public key"),
    "request for a certificate": (
        CERTIFICATE.replace("CERTIFICATE", "CERTIFICATE REQUEST"),
        "is not a PEM public key, whole",
        "is not a PEM private key, whole",
    ),
}
CASES = [
    (setting, thing)
    for thing, words in OTHER_THINGS.items()
    for setting, word in zip(("jwt_public_key", "jwt_private_key"), words[1:], strict=True)
    if word
]


def refusal(setting: str, value: str) -> str:
    """Return how a value is refused, in one line that names the setting and holds nothing of a key."""
    with pytest.raises(ConfigError) as caught:
        load_settings(**{setting: value})
    told = str(caught.value)
    assert told.startswith(f"{PREFIX}{setting.upper()}: ")
    assert "\n" not in told
    lines = [*PRIVATE.splitlines()[1:-1], *PUBLIC.splitlines()[1:-1], value]
    assert not any(line in told for line in lines if line.strip())
    return told


@pytest.mark.parametrize(("setting", "thing"), CASES)
def test_key_that_is_something_else_is_told_what_it_is(tmp_path: Path, setting: str, thing: str) -> None:
    text, *words = OTHER_THINGS[thing]
    path = tmp_path / "key.pem"
    path.write_text(text)
    for value in (text, str(path)):
        assert words[setting == "jwt_private_key"] in refusal(setting, value)


@pytest.mark.parametrize("setting", TAKEN)
def test_key_file_that_cannot_be_used_is_told_why(tmp_path: Path, setting: str) -> None:
    kind = setting.removeprefix("jwt_").replace("_", " ").upper()
    begin = f"-----BEGIN {kind}-----"
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "key.der").write_bytes(bytes(range(256)))
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4e person@example.com")
    (tmp_path / "wide.pem").write_text(PUBLIC, encoding="utf-16")
    assert "is a folder" in refusal(setting, str(tmp_path))
    assert "is an empty file" in refusal(setting, str(tmp_path / "empty"))
    for name in ("key.der", "key.pub", "wide.pem"):
        assert f"is a file without PEM text, which begins with {begin}" in refusal(
            setting, str(tmp_path / name)
        )
    for path in (str(tmp_path / "none.pem"), "none.pem", f"{tmp_path}/none/key.pem"):
        assert "there is no such file" in refusal(setting, path)
        assert begin in refusal(setting, path)
    for path in ("x" * 5_000, str(tmp_path / "key.der" / "key.pem")):
        assert f"is neither PEM text, which begins with {begin}, nor the path" in refusal(setting, path)


@pytest.mark.parametrize("setting", TAKEN)
def test_key_file_that_this_user_may_not_read_is_told_so(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "key.pem"
    path.write_text(PRIVATE)
    path.chmod(0)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)  # root may read everything
    try:
        assert "is a file that this user may not read" in refusal(setting, str(path))
    finally:
        os.seteuid(mine)


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_key_of_white_space_alone_is_none(value: str) -> None:
    settings = load_settings(jwt_public_key=value, jwt_private_key=value, jwt_secret=value)
    assert (settings.jwt_public_key, settings.jwt_private_key, settings.jwt_secret) == (None, None, None)


def test_key_file_that_vanishes_after_it_was_checked_is_told_by_its_setting(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    also = {"jwt_issuer": "https://issuer", "jwt_audience": "dashkeeper"}
    asked: dict[str, Any] = {
        "subject": "s",
        "projects": ["p"],
        "scope": "dashboards:read",
        "expires": dt.timedelta(hours=1),
    }
    uses: list[tuple[str, str, Callable[[Settings], object]]] = [
        ("jwt_public_key", PUBLIC, Settings.token_rules),
        ("jwt_private_key", PRIVATE, lambda settings: make_token(settings, **asked)),
    ]
    for setting, text, use in uses:
        path.write_text(text)
        settings = load_settings(**{setting: str(path)}, **also)
        path.unlink()
        with pytest.raises(ConfigError, match=rf"^{PREFIX}{setting.upper()}: there is no such file"):
            use(settings)
