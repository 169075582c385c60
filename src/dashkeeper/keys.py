"""The keys that tokens are verified and signed with, and the algorithms each can serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

if TYPE_CHECKING:
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
        raise ValueError(
            f"has {size} of the {_HMAC_BYTES['HS256']} bytes that HS256 needs: take a longer one"
        )
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
        ValueError: If it can't be read.
    """
    try:
        return load_pem_public_key(_pem(pem_or_path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("is not a PEM public key (-----BEGIN PUBLIC KEY-----)") from error


def load_private_key(pem_or_path: str) -> PrivateKeyTypes:
    """Load a private key from PEM text without a password, or from the file at this path.

    Raises:
        ValueError: If it can't be read.
    """
    try:
        return load_pem_private_key(_pem(pem_or_path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("is not a PEM private key without a password") from error


def _pem(pem_or_path: str) -> bytes:
    if pem_or_path.lstrip().startswith("-----BEGIN"):
        return pem_or_path.encode()
    try:
        return Path(pem_or_path).read_bytes()
    except OSError as error:
        reason = error.strerror or "no such file"
        raise ValueError(f"is neither PEM text nor a file that can be read: {reason}") from error
