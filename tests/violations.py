"""What the rules say of a request, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashkeeper.errors import InvalidRequestError
from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.paths import written
from dashkeeper.validation import validate

if TYPE_CHECKING:
    from protobuf import Message

    from dashkeeper.gen.registrations.v1.content_pb import DashboardContent


def violations(request: Message) -> list[tuple[str, str]]:
    """Return the path and the description of each broken rule of a request."""
    try:
        validate(request)
    except InvalidRequestError as error:
        return [(written(path), description) for path, description in error.violations]
    return []


def violations_of_content(content: DashboardContent) -> list[tuple[str, str]]:
    """Return the same of a content, with paths that begin in it."""
    found = violations(UpdateContentRequest(id="reg_1", content=content))
    assert all(path.startswith("content.") for path, _ in found)
    return [(path.removeprefix("content."), text) for path, text in found]
