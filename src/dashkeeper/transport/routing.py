"""Which path is served: the one place that says so.

A path is what was sent, byte for byte, and never what it decodes to: a proxy or an access rule in front
of the server decides by what it sees. So every word and slash stands as it is documented: an encoded
letter, dot or slash, a doubled or trailing slash, a dot segment or another case make another path, which
is not found. Only the id in a path of the REST form may be percent-encoded (RFC 3986 §2.3), once, and
what it decodes to must be an id. Nothing is redirected: a client would take its token along, to wherever
the Host of its request said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.routing import Router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

_ID = re.compile(r"[A-Za-z0-9_-]+")


class ExactRouter(Router):
    """Finds a request's route by its path as it was sent: in one step, unless the path has an id in it."""

    def __init__(self, routes: Sequence[Route], *, not_found: ASGIApp) -> None:
        super().__init__(
            [route for route in routes if route.param_convertors], redirect_slashes=False, default=not_found
        )
        self._exact = {route.path: route.app for route in routes if not route.param_convertors}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = sent_path(scope)
        if (application := self._exact.get(path)) is not None:
            await application(scope, receive, send)
        else:
            await super().__call__({**scope, "path": path}, receive, send)


def sent_path(scope: Scope) -> str:
    """Return the path as it was sent."""
    return scope["raw_path"].decode("latin-1")


def decoded_id(segment: str) -> str | None:
    """Return the id that a segment of a path stands for; None if it is none."""
    text = unquote(segment)
    return text if _ID.fullmatch(text) else None
