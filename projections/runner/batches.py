"""Batches: a group of projections folds the log batch by batch, on one connection.

A batch's rows and the projections' places in the log are written in one transaction, which first locks those places:
two runners cannot write a batch twice, and a runner whose cache is not of the place it finds empties it. These
transactions need not be durable (`synchronous_commit` off): rows and place are lost together, and folded again.
"""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from domain.ledger import EventLog, Logged
from projections.storage import progress
from projections.storage.copy_lines import Sum
from projections.storage.progress import Batches, Move, Place
from projections.storage.rows import SqlRows
from projections.storage.tables import Projection

LOAD_KEYS_EVENTS_MIN = 500
_NOT_DURABLE = sa.text("SET LOCAL synchronous_commit = off")
_ONE_SNAPSHOT = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


class GroupFollower:
    """Folds the log into a group of projections, on one connection."""

    def __init__(
        self,
        log: EventLog,
        connection: sa.Connection,
        projections: Iterable[Projection],
        batch_events_max: int,
    ) -> None:
        self._connection = connection
        self._batches = Batches(log, batch_events_max)
        with connection.begin():
            places = progress.places(connection)
        self._followers = [_ProjectionFollower(projection, places[projection.name][0]) for projection in projections]
        self.seq = min((follower.place.seq for follower in self._followers), default=0)

    def load_keys(self) -> None:
        """Read the keys of all rows before a long run, so that no event waits for it.

        If that fails for another reason than the loss of the database, the first batch tries again, and stops only the
        projection that fails.
        """
        for follower in self._followers:
            follower.is_long = True
        try:
            with self._connection.begin():
                self._connection.execute(_ONE_SNAPSHOT)
                places = progress.places(self._connection)
                for follower in self._followers:
                    follower.load_keys(self._connection, places[follower.projection.name][0])
        except Exception as error:
            if progress.is_unreachable(error):
                raise

    @property
    def has_stopped(self) -> bool:
        """Whether an error has stopped some projection."""
        return any(follower.error is not None for follower in self._followers)

    def resume(self) -> None:
        """Restart the projections whose error has been cleared, or was not the event's fault."""
        with self._connection.begin():
            places = progress.places(self._connection)
        for follower in self._followers:
            place, error = places[follower.projection.name]
            is_due = follower.error is not None and (error is None or follower.is_retried)
            if is_due and place.version == follower.projection.version:
                follower.restart_from(place)

    def advance(self) -> bool:
        """Fold one batch for every projection that is not stopped; returns whether there was one."""
        running = [follower for follower in self._followers if follower.error is None]
        if not running:
            return False
        after = min(follower.place.seq for follower in running)
        batch = self._batches.next(after)
        if not batch:
            return False
        try:
            self._apply(running, batch)
        except Exception as error:
            for follower in running:
                follower.roll_back()
            if progress.is_unreachable(error):
                raise
            for follower in running:
                follower.apply(self._connection, batch)
        self.seq = batch[-1].seq
        return True

    def _apply(self, running: Sequence["_ProjectionFollower"], batch: Sequence[Logged]) -> None:
        """Fold in one transaction for all projections. If one fails, `advance` folds them one by one."""
        by_name = {follower.projection.name: follower for follower in running}
        with self._connection.begin():
            self._connection.execute(_NOT_DURABLE)
            moves = []
            for name, found in progress.lock_all(self._connection, list(by_name)).items():
                if fresh := by_name[name].fresh(found, batch):
                    moves.append(Move(name, found, fresh[-1].seq, by_name[name].fold(self._connection, fresh)))
            places = progress.move_all(self._connection, moves)
        for name, place in places.items():
            by_name[name].place = place


class _ProjectionFollower:
    """One projection's live rows and their place."""

    def __init__(self, projection: Projection, place: Place) -> None:
        self.projection = projection
        self.is_long = False
        self.error: str | None = None
        self.restart_from(place)

    def restart_from(self, place: Place) -> None:
        """Empty the cache: the rows were replaced, or another process has written them."""
        self.place, self.error, self.is_retried = place, None, False
        self._rows = SqlRows(self.projection.tables, place.schema, is_empty=place.seq == 0, is_followed=True)
        self._has_keys = place.seq == 0
        if place.version != self.projection.version:  # a newer Daybook has taken over: this one must not write
            self.error = f"its tables are of version {place.version}, this Daybook's of {self.projection.version}"

    def load_keys(self, connection: sa.Connection, found: Place) -> None:
        """Read the keys of all rows at the place found, which is of the same snapshot."""
        if found != self.place:
            self.restart_from(found)
        if self.error is None:
            self._load_keys(connection)

    def apply(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        """Fold the new events of a batch. An event that cannot be folded stops the projection right before it."""
        try:
            self._apply(connection, batch)
        except Exception as error:
            self.roll_back()
            if progress.is_unreachable(error):
                raise
            self._stop_before_poison(connection, batch)

    def _stop_before_poison(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        for logged in batch:
            try:
                self._apply(connection, [logged])
            except Exception as error:
                self.roll_back()
                if progress.is_unreachable(error):
                    raise
                self.error = str(progress.stopped(self.projection, logged, error))
                self.is_retried = progress.is_mendable(error)
                with connection.begin():
                    progress.move(connection, self.projection, error=self.error)
                return

    def _apply(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        name = self.projection.name
        with connection.begin():
            connection.execute(_NOT_DURABLE)
            found = progress.lock(connection, self.projection)
            if not (fresh := self.fresh(found, batch)):
                return
            move = Move(name, found, fresh[-1].seq, self.fold(connection, fresh))
            places = progress.move_all(connection, [move])
        self.place = places[name]

    def fresh(self, found: Place, batch: Sequence[Logged]) -> Sequence[Logged]:
        """Return the events of a batch after the locked place: none if the batch does not follow it."""
        if found != self.place:
            self.restart_from(found)
        if self.error is not None or batch[0].seq > found.seq + 1:
            return ()
        return batch[found.seq + 1 - batch[0].seq :]

    def fold(self, connection: sa.Connection, fresh: Sequence[Logged]) -> Sum:
        """Fold and write; returns the digest of the rows."""
        self._rows.begin(connection)
        self._rows.sum = self.place.sum
        if not self._has_keys and (self.is_long or len(fresh) >= LOAD_KEYS_EVENTS_MIN):
            self._load_keys(connection)
        self.projection.fold(self._rows, fresh)
        self._rows.flush()
        return self._rows.sum

    def _load_keys(self, connection: sa.Connection) -> None:
        self._rows.begin(connection)
        self._rows.load_keys()
        self._has_keys = True

    def roll_back(self) -> None:
        """Discard the changes since the last committed transaction."""
        self._rows.roll_back()
