"""The OpenAPI description."""

from __future__ import annotations


def openapi(*, max_request_bytes: int) -> bytes:
    """Return it."""
    return b"{}"
