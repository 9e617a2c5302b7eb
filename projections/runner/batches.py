"""Following: projections on their way through the log, batch by batch, on one connection.

A batch's rows and the projections' places in the log are written in one transaction, which first locks those places:
two runners cannot write a batch twice, and one whose cache is not of the place it finds forgets it. These transactions
need not be durable (`synchronous_commit` off): rows and place are lost together, and folded again.
"""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from domain.ledger import EventLog, Logged
from projections.storage import progress
from projections.storage.copy_lines import Sum
from projections.storage.progress import Batches, Move, Place
from projections.storage.rows import SqlRows
from projections.storage.tables import Projection

LEARNING_EVENTS_MIN = 500
_NOT_DURABLE = sa.text("SET LOCAL synchronous_commit = off")
_ONE_SNAPSHOT = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


class Following:
    """Projections on their way through the log, on one connection."""

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
        self._followers = [_Follower(projection, places[projection.name][0]) for projection in projections]
        self.seq = min((follower.place.seq for follower in self._followers), default=0)

    def settle_in(self) -> None:
        """Read which rows there are, as it goes on for long: now, so that no event waits for it.

        If that fails for another reason than the database, the first batch tries again, where it stops one alone.
        """
        for follower in self._followers:
            follower.is_long = True
        try:
            with self._connection.begin():
                self._connection.execute(_ONE_SNAPSHOT)
                places = progress.places(self._connection)
                for follower in self._followers:
                    follower.learn(self._connection, places[follower.projection.name][0])
        except Exception as error:
            if progress.is_unreachable(error):
                raise

    @property
    def has_stopped(self) -> bool:
        """Whether some projection does not go on."""
        return any(follower.error is not None for follower in self._followers)

    def resume(self) -> None:
        """Go on with those whose error has been taken back."""
        with self._connection.begin():
            places = progress.places(self._connection)
        for follower in self._followers:
            place, error = places[follower.projection.name]
            if follower.error is not None and error is None and place.version == follower.projection.version:
                follower.go_on_from(place)

    def advance(self) -> bool:
        """One batch, for every projection that no event has stopped; whether there was anything."""
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
                follower.forget()
            if progress.is_unreachable(error):
                raise
            for follower in running:
                follower.apply(self._connection, batch)
        self.seq = batch[-1].seq
        return True

    def _apply(self, running: Sequence["_Follower"], batch: Sequence[Logged]) -> None:
        """One transaction for all of them: they move together. If one cannot, they do it one by one."""
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


class _Follower:
    """One projection's live rows and their place."""

    def __init__(self, projection: Projection, place: Place) -> None:
        self.projection = projection
        self.is_long = False
        self.error: str | None = None
        self.go_on_from(place)

    def go_on_from(self, place: Place) -> None:
        """Forget what was known of the rows: they are others, or somebody else has written them."""
        self.place, self.error = place, None
        self._rows = SqlRows(self.projection.tables, place.schema, is_empty=place.seq == 0)
        self._has_learned = place.seq == 0
        if place.version != self.projection.version:  # a newer Daybook has taken over: not a word to the database
            self.error = f"its tables are of version {place.version}, this Daybook's of {self.projection.version}"

    def learn(self, connection: sa.Connection, found: Place) -> None:
        """Read which rows there are at the place found, which is of the same snapshot."""
        if found != self.place:
            self.go_on_from(found)
        if self.error is None:
            self._learn(connection)

    def apply(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        """Fold what is new of a batch. An event that cannot be folded stops the projection right before it."""
        try:
            self._apply(connection, batch)
        except Exception as error:
            self.forget()
            if progress.is_unreachable(error):
                raise
            self._stop_before_poison(connection, batch)

    def _stop_before_poison(self, connection: sa.Connection, batch: Sequence[Logged]) -> None:
        for logged in batch:
            try:
                self._apply(connection, [logged])
            except Exception as error:
                self.forget()
                if progress.is_unreachable(error):
                    raise
                self.error = str(progress.stopped(self.projection, logged, error))
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
        """What is to be folded of a batch from the locked place: nothing if it does not follow."""
        if found != self.place:
            self.go_on_from(found)
        if self.error is not None or batch[0].seq > found.seq + 1:
            return ()
        return batch[found.seq + 1 - batch[0].seq :]

    def fold(self, connection: sa.Connection, fresh: Sequence[Logged]) -> Sum:
        """Fold, write, and tell the digest of the rows there are now."""
        self._rows.begin(connection)
        self._rows.sum = self.place.sum
        if not self._has_learned and (self.is_long or len(fresh) >= LEARNING_EVENTS_MIN):
            self._learn(connection)
        self.projection.fold(self._rows, fresh)
        self._rows.flush()
        return self._rows.sum

    def _learn(self, connection: sa.Connection) -> None:
        self._rows.begin(connection)
        self._rows.learn()
        self._has_learned = True

    def forget(self) -> None:
        """What was put since the last transaction that ended well was not written."""
        self._rows.roll_back()
