"""Check of the maps in checkpoints: the groups of all events again, compared with every map that was signed.

Also compares what the sealer has stored of the groups: their entries, the edges of their trees, and their tiles.
"""

from adapters.postgres.connections import Connection
from adapters.proof import groups
from adapters.proof.groups import Stated
from adapters.verify.diagnosis import Fault, Finding
from adapters.verify.range_check import CheckedRange
from domain.sealed.groups import RULE, GroupMap, GroupTree, Head


class MapCheck:
    """Takes the checked ranges of a log in sequence, from its first event on."""

    def __init__(self, connection: Connection, sealed: int) -> None:
        self._connection = connection
        self._sealed = sealed
        self._size = 0
        self._trees: dict[str, GroupTree] = {}
        self._map = GroupMap()
        self.maps = 0
        self.stored = groups.stored_size(connection)

    def outlived(self) -> Finding | None:
        """Return a fault if entries are stored of events that no checkpoint is of."""
        if self.stored <= self._sealed:
            return None
        detail = f"groups are stored up to seq {self.stored}: newer checkpoints were removed"
        return Finding(Fault.FORGED, self._sealed + 1, self.stored, detail)

    def add(self, checked: CheckedRange) -> Finding | None:
        """Add a range; return a fault in what was signed or stored about its groups."""
        if checked.wrong_group:
            detail = (
                f"the stored entries of {checked.wrong_group} are not those of the events, which are intact; stop what "
                "seals, delete all rows of ledger.group_runs (they are made again from the log)"
            )
            return Finding(Fault.GROUPS, checked.after + 1, checked.after + checked.events, detail)
        for size, leaves, stated in checked.segments:
            before, self._size = self._size, size
            for group, joined in leaves.items():
                self._trees.setdefault(group, GroupTree()).extend(joined)
            self._map.update(Head(group, self._trees[group].count, self._trees[group].root()) for group in leaves)
            if stated is not None and stated.rule == RULE and stated != Stated(RULE, len(self._map), self._map.root()):
                detail = f"the checkpoint of {size} events states a map of accounts that is not that of its events"
                return Finding(Fault.MAP, min(before + 1, size), size, detail)
            self.maps += stated is not None and stated.rule == RULE
            if size == self.stored and (wrong := groups.wrong_edge(self._connection, self._trees)):
                detail = (
                    f"the stored tree of {wrong} is not that of its events, which are intact; stop what seals, delete "
                    "all rows of ledger.group_runs (they are made again from the log)"
                )
                return Finding(Fault.GROUPS, 1, size, detail)
        return None
