"""The caller of a request: the holder of a verified API key, and what it may do."""

from typing import NamedTuple

from domain.access import DEMO, UNBOUNDED, ApiKey, Bounds, Identity, Scope, rights

__all__ = ["Caller", "Scope"]


class Caller(NamedTuple):
    """The holder of a key: the actor named in events, the scopes, public id and bounds of the key."""

    actor: str
    scopes: frozenset[str]
    key_id: str = ""
    bounds: Bounds = UNBOUNDED

    @property
    def rights(self) -> frozenset[str]:
        """All that its scopes allow."""
        return rights(self.scopes)

    @property
    def identity(self) -> Identity:
        """The identity that its events are recorded under: its key, or the demo where none is needed."""
        return ApiKey(self.key_id, self.actor) if self.key_id else DEMO
