"""New ids and etags."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, which sorts as its digits do
_TIME_DIGITS = 11  # 55 bits of microseconds: until the year 3111
_RANDOM_DIGITS = 13  # 65 bits


def new_dashboard_id(microseconds: int) -> str:
    """Return `dash_` and 24 characters that sort by the time given, then at random."""
    return f"dash_{_sorting_by(microseconds)}"


def new_registration_id(microseconds: int) -> str:
    """Return `reg_` and 24 characters that sort by the time given, then at random."""
    return f"reg_{_sorting_by(microseconds)}"


def new_content_id(microseconds: int) -> str:
    """Return `content_` and 24 characters that sort by the time given, then at random."""
    return f"content_{_sorting_by(microseconds)}"


def new_tile_id() -> str:
    """Return `tile_` and 16 random characters, 80 bits: unique enough within one dashboard."""
    return f"tile_{_random_digits(16)}"


def new_etag() -> str:
    """Return 96 random bits: no two states share an etag, not even after a backup is restored."""
    return secrets.token_urlsafe(12)


def _sorting_by(microseconds: int) -> str:
    return f"{_digits(microseconds, _TIME_DIGITS)}{_random_digits(_RANDOM_DIGITS)}"


def _random_digits(count: int) -> str:
    return _digits(secrets.randbits(5 * count), count)


def _digits(number: int, count: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (count - 1), -1, -5))
