"""The keys that tokens are verified and signed with, and the algorithms each can serve."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

_HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def secret_algorithms(secret: str) -> tuple[str, ...]:
    """Return the HMAC algorithms this secret is long enough for (RFC 7518 §3.2).

    Raises:
        ValueError: If it is too short for any.
    """
    size = len(secret.encode())
    algorithms = tuple(name for name, needed in _HMAC_BYTES.items() if size >= needed)
    if not algorithms:
        raise ValueError(f"is {size} bytes long: HS256 needs at least {_HMAC_BYTES['HS256']}")
    return algorithms


def public_key_algorithms(key: PublicKeyTypes) -> tuple[str, ...]:
    """Return the algorithms of this kind of key; the first is the default.

    Raises:
        ValueError: If tokens can't be signed with such a key, or not safely.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise ValueError(f"is an RSA key of {key.key_size} bits: at least 2048 are needed")
        return _RSA_ALGORITHMS
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _EC_ALGORITHMS:
        return (_EC_ALGORITHMS[key.curve.name],)
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return ("EdDSA",)
    raise ValueError("is not an RSA, P-256, P-384, P-521, Ed25519 or Ed448 key")


def load_public_key(pem_or_path: str) -> PublicKeyTypes:
    """Load a public key from PEM text, or from the file at this path.

    Raises:
        ValueError: If it can't be read. The text says what it is instead, and repeats nothing of it.
    """
    pem = _pem(pem_or_path, "PUBLIC KEY")
    kinds = _kinds(pem)
    if any(kind.endswith("PRIVATE KEY") for kind in kinds):
        raise ValueError(
            "is a private key, which only who signs tokens should have: take its public key by"
            " `openssl pkey -in FILE -pubout` (or is it meant for JWT_PRIVATE_KEY?)"
        )
    if any(kind.endswith("CERTIFICATE") for kind in kinds):
        raise ValueError(
            "is a certificate: take the public key out of it by `openssl x509 -in FILE -noout -pubkey`"
        )
    try:
        return load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(
            "is not a PEM public key, whole from -----BEGIN PUBLIC KEY----- to its END"
        ) from error


def load_private_key(pem_or_path: str) -> PrivateKeyTypes:
    """Load a private key from PEM text without a password, or from the file at this path.

    Raises:
        ValueError: If it can't be read. The text says what it is instead, and repeats nothing of it.
    """
    pem = _pem(pem_or_path, "PRIVATE KEY")
    kinds = _kinds(pem)
    if not any(kind.endswith("PRIVATE KEY") for kind in kinds):
        if any(kind.endswith("PUBLIC KEY") for kind in kinds):
            raise ValueError(
                "is a public key: signing needs its private key (or is it meant for JWT_PUBLIC_KEY?)"
            )
        if any(kind.endswith("CERTIFICATE") for kind in kinds):
            raise ValueError("is a certificate: signing needs its private key")
    if "OPENSSH PRIVATE KEY" in kinds:
        raise ValueError("is in OpenSSH's form: convert a copy by `ssh-keygen -p -m PKCS8 -f COPY`")
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError(
            "is encrypted, and nobody is asked for its password: decrypt it by `openssl pkey -in FILE`"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(
            "is not a PEM private key, whole from -----BEGIN PRIVATE KEY----- to its END"
        ) from error


def _kinds(pem: bytes) -> Sequence[str]:
    """Return what the parts of a PEM text say that they are (RFC 7468 §2)."""
    return [kind.decode() for kind in re.findall(rb"-----BEGIN ([A-Z0-9 ]+)-----", pem)]


def _pem(pem_or_path: str, kind: str) -> bytes:
    pem = pem_or_path.encode() if "-----BEGIN" in pem_or_path else _content(pem_or_path, kind)
    if not pem.strip():
        raise ValueError("is an empty file: write the key into it")
    if b"-----BEGIN" not in pem:
        raise ValueError(
            f"is a file without PEM text, which begins with -----BEGIN {kind}-----: convert the key to PEM"
        )
    if b"\\n" in pem:
        raise ValueError(
            "has \\n where lines should end: write line breaks or spaces instead, or the path of a file"
        )
    return pem


def _content(path: str, kind: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        reason = "there is no such file: write the path of one, readable where the server runs"
        raise ValueError(f"{reason}, or PEM text, which begins with -----BEGIN {kind}-----") from error
    except IsADirectoryError as error:
        raise ValueError("is a folder: write the path of the key's file in it") from error
    except PermissionError as error:
        raise ValueError("is a file that this user may not read: change its owner or mode") from error
    except (OSError, ValueError) as error:  # a name that is too long, or no name
        raise ValueError(
            f"is neither PEM text, which begins with -----BEGIN {kind}-----, nor the path of a file"
        ) from error
