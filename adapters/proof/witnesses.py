"""Witnesses: places outside the database that receive every checkpoint, so that rewriting the log can be detected.

A witness is a file (`file:PATH`, to which each checkpoint's signed note (C2SP) is appended), a URL (`https://…`, to
which it is POSTed as text), a second database (`postgresql://…`, with a row for it in `public.daybook_checkpoints`), or
a witness of the C2SP protocol (`witness+https://…#VKEY`), which cosigns the newest checkpoint. Each has a thread and a
bounded queue, so that witnesses delay neither one another nor the sealer. A failure is reported once and retried; if a
queue overflows, the oldest checkpoints are dropped, which later ones cover. A witness that has cosigned a history which
ours does not continue is an alarm.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import psycopg

from adapters.postgres.connections import connect
from adapters.proof import tlog_witness
from adapters.proof.checkpoints import parse
from adapters.proof.policies import Policy
from adapters.proof.tlog_witness import TlogWitness, ViewsDiffer
from adapters.upkeep.supervisor import Supervisor, Task
from domain.errors import InvalidInput, LedgerError, Unavailable

QUEUED_MAX = 10_000
PAUSE_SECONDS_MAX = 30.0
IDLE_SECONDS = 10.0
POST_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 5.0

TABLE = """
CREATE TABLE IF NOT EXISTS public.daybook_checkpoints (
    origin text NOT NULL,
    size bigint NOT NULL,
    note text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (origin, size, note)
)
"""
INSERT = "INSERT INTO public.daybook_checkpoints (origin, size, note) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

Deliver = Callable[[str], None]
OnTrouble = Callable[[str, str], None]  # witness, reason of the failure; an empty reason when it works again


def places(text: str) -> list[str]:
    """Parse the setting: witnesses separated by spaces or commas. Raises InvalidInput for an invalid one."""
    found = text.replace(",", " ").split()
    for place in found:
        _delivery(place, "")
    return found


def places_of(policy: Policy) -> list[str]:
    """Return the places of a policy's witnesses: of those that it has a URL for."""
    found = [f"{tlog_witness.SCHEME}{one.url}#{one.key.vkey}" for one in policy.witnesses.values() if one.url]
    for place in found:
        tlog_witness.parsed(place)
    return found


class Witnesses:
    """Sends checkpoints of the ledger in the database `url` to witnesses in the background. Close it when done."""

    def __init__(
        self,
        where: Iterable[str],
        on_trouble: OnTrouble = lambda *_: None,
        upkeep: Supervisor | None = None,
        *,
        url: str = "",
    ) -> None:
        upkeep = upkeep or Supervisor()
        self._all = [_Witness(f"witness {n}", place, on_trouble, upkeep, url=url) for n, place in enumerate(where, 1)]

    def hand(self, note: str) -> None:
        """Queue a signed note (C2SP) for every witness. Returns at once."""
        for witness in self._all:
            witness.hand(note)

    def catch_up(self, note: str) -> None:
        """Queue the newest checkpoint for the witnesses that cosign: they need only the last one."""
        for witness in self._all:
            if witness.is_cosigning:
                witness.hand(note)

    def close(self) -> None:
        """End the threads, after delivering what can be delivered at once."""
        for witness in self._all:
            witness.close()


class _Witness:
    def __init__(self, task: str, place: str, on_trouble: OnTrouble, upkeep: Supervisor, *, url: str) -> None:
        self._name = _without_password(place.partition("#")[0])
        self._deliver = _delivery(place, url)
        self.is_cosigning = tlog_witness.is_place(place)
        self._on_trouble = on_trouble
        self._queue: deque[str] = deque(maxlen=1 if self.is_cosigning else QUEUED_MAX)
        self._queued = threading.Condition()
        self._reported = ""
        self._task = upkeep.start(f"{task} ({self._name})", self._work, pause_seconds_max=PAUSE_SECONDS_MAX)

    def hand(self, note: str) -> None:
        with self._queued:
            self._queue.append(note)
            self._queued.notify()

    def close(self) -> None:
        with self._queued:
            self._task.stopping.set()
            self._queued.notify()
        self._task.end(STOP_SECONDS_MAX)

    def _work(self, task: Task) -> None:
        """Deliver what is queued until closed, then close the connections."""
        try:
            self._deliver_all(task)
        finally:
            if isinstance(self._deliver, TlogWitness):
                self._deliver.close()

    def _deliver_all(self, task: Task) -> None:
        """Deliver what is queued, in order, until closed; then only what can be delivered at once."""
        while (note := self._next(task)) is not None:
            try:
                self._deliver(note)
            except (OSError, httpx.HTTPError, psycopg.Error, LedgerError) as error:
                self._report(" ".join(str(error).split()) or type(error).__name__)
                task.failed(Unavailable(self._reported), is_alarm=isinstance(error, ViewsDiffer))
                if task.stopping.is_set():
                    return
                task.pause()
                continue
            self._report("")
            task.succeeded()
            with self._queued:
                if self._queue and self._queue[0] is note:
                    self._queue.popleft()

    def _next(self, task: Task) -> str | None:
        """Wait for the next note; None once closed and nothing is queued."""
        with self._queued:
            while not self._queued.wait_for(lambda: self._queue or task.stopping.is_set(), IDLE_SECONDS):
                task.idle()
            return self._queue[0] if self._queue else None

    def _report(self, reason: str) -> None:
        if reason != self._reported:
            self._reported = reason
            self._on_trouble(self._name, reason)


def _delivery(place: str, url: str) -> Deliver:
    if tlog_witness.is_place(place):
        return TlogWitness(place, url)
    match place.partition(":")[0]:
        case "file" if place.removeprefix("file:"):
            path = Path(place.removeprefix("file:").removeprefix("//"))
            return lambda note: _append(path, note)
        case "http" | "https":
            return lambda note: _post(place, note)
        case "postgresql" | "postgres":
            return lambda note: _insert(place, note)
        case _:
            raise InvalidInput(
                "witnesses",
                _without_password(place),
                "file:PATH, http(s)://…, postgresql://… or witness+https://…#VKEY",
            )


def _append(path: Path, note: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(note + "\n")


def _post(url: str, note: str) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    httpx.post(url, content=note.encode(), headers=headers, timeout=POST_SECONDS_MAX).raise_for_status()


def _insert(url: str, note: str) -> None:
    checkpoint = parse(note).checkpoint
    with connect(url) as connection:
        connection.execute(TABLE)
        connection.execute(INSERT, [checkpoint.origin, checkpoint.size, note])


def _without_password(place: str) -> str:
    scheme, slashes, rest = place.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else place
