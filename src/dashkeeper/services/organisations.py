"""Which organisations' registrations a caller reaches, by the token's claim `organisations`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashkeeper.errors import InvalidRequestError, PermissionDeniedError, Violation, not_on_community

if TYPE_CHECKING:
    from dashkeeper.auth import Caller
    from dashkeeper.store.base import Store


@dataclass(frozen=True, slots=True)
class Reach:
    """The organisations that a caller may read, and those that it may write; None: all."""

    readable: frozenset[str] | None
    writable: frozenset[str] | None

    def can_read(self, organisation_id: str) -> bool:
        """Whether the caller may read what the organisation registered."""
        return self.readable is None or organisation_id in self.readable

    def check_write(self, organisation_id: str) -> None:
        """Check that the caller may write what the organisation registered.

        Raises:
            PermissionDeniedError: If not.
        """
        if self.writable is not None and organisation_id not in self.writable:
            raise not_allowed(organisation_id)


async def reach_of(caller: Caller, store: Store) -> Reach:
    """Return the caller's reach: its claim's organisations, and to read their communities' own ones too.

    A community's own organisation is the one whose id equals the community's.
    """
    if caller.organisations is None:
        return Reach(None, None)
    communities = await store.communities_of(caller.project_id, caller.organisations)
    return Reach(caller.organisations | frozenset(communities.values()), caller.organisations)


async def community_to_list(
    store: Store, project_id: str, reach: Reach, organisation_id: str, community_id: str
) -> str:
    """Return the community that an organisation is on, for List.

    Args:
        store: Where its registrations are.
        project_id: The project.
        reach: That of the caller.
        organisation_id: The organisation.
        community_id: The community that the caller names, or nothing.

    Raises:
        InvalidRequestError: If it isn't on the one named, or has no registration and none is named.
        PermissionDeniedError: If it has no registration, and the caller may not read the one named:
            otherwise a token of one organisation could read what any community registered.
    """
    known = (await store.communities_of(project_id, [organisation_id])).get(organisation_id)
    if known is not None:
        if community_id not in ("", known):
            raise not_on_community(organisation_id)
        return known
    if not community_id:
        description = f'is needed: organisation "{organisation_id}" has no registration yet'
        raise InvalidRequestError.of([Violation(("community_id",), description)], reason="COMMUNITY_UNKNOWN")
    if not reach.can_read(community_id):
        raise not_allowed(community_id)
    return community_id


def not_allowed(organisation_id: str) -> PermissionDeniedError:
    """Make the error of an organisation that the token doesn't allow."""
    return PermissionDeniedError(
        f'the token does not allow this with organisation "{organisation_id}"',
        reason="ORGANISATION_NOT_ALLOWED",
    )
