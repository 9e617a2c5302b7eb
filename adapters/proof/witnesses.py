"""Witnesses: places outside the database that are handed every checkpoint, so that no later forgery can deny it.

A witness is a file (`file:PATH`, a note appended after the other), a URL (`https://…`, each note POSTed as text) or a
second database (`postgresql://…`, a row a note in `public.daybook_checkpoints`). Each has a thread and a bounded queue:
none waits for another, and the sealer for none. What fails is told once, and tried again; if a queue overflows the
oldest notes are dropped, which later ones cover.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import psycopg

from adapters.postgres.connections import connect
from adapters.proof.checkpoints import parse
from domain.errors import InvalidInput, LedgerError

QUEUED_NOTES_MAX = 10_000
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 30.0
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
OnTrouble = Callable[[str, str], None]  # witness, what is wrong; an empty reason when it works again


def places(text: str) -> list[str]:
    """The witnesses of a setting, separated by spaces or commas. Raises InvalidInput for one that is none."""
    found = text.replace(",", " ").split()
    for place in found:
        _delivery(place)
    return found


class Witnesses:
    """Hands notes to some witnesses while it is open."""

    def __init__(self, where: Iterable[str], on_trouble: OnTrouble = lambda *_: None) -> None:
        self._all = [_Witness(place, on_trouble) for place in where]

    def hand(self, note: str) -> None:
        """Give a note to every witness. Returns at once."""
        for witness in self._all:
            witness.hand(note)

    def close(self) -> None:
        """End the threads; what can still be delivered at once, is."""
        for witness in self._all:
            witness.close()


class _Witness:
    def __init__(self, place: str, on_trouble: OnTrouble) -> None:
        self._name = _without_password(place)
        self._deliver = _delivery(place)
        self._on_trouble = on_trouble
        self._notes: deque[str] = deque(maxlen=QUEUED_NOTES_MAX)
        self._given = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name=f"daybook witness {self._name}", daemon=True)
        self._thread.start()

    def hand(self, note: str) -> None:
        with self._given:
            self._notes.append(note)
            self._given.notify()

    def close(self) -> None:
        with self._given:
            self._is_closing = True
            self._given.notify()
        self._thread.join(STOP_SECONDS_MAX)

    def _work(self) -> None:
        wait, told = RETRY_SECONDS_MIN, ""
        while True:
            with self._given:
                self._given.wait_for(lambda: self._notes or self._is_closing)
                if not self._notes:
                    return
                note = self._notes[0]
            try:
                self._deliver(note)
            except (OSError, httpx.HTTPError, psycopg.Error, LedgerError) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                if reason != told:
                    told = reason
                    self._on_trouble(self._name, reason)
                with self._given:
                    if self._is_closing or self._given.wait_for(lambda: self._is_closing, wait):
                        return
                wait = min(2 * wait, RETRY_SECONDS_MAX)
                continue
            if told:
                self._on_trouble(self._name, "")
            wait, told = RETRY_SECONDS_MIN, ""
            with self._given:
                if self._notes and self._notes[0] is note:
                    self._notes.popleft()


def _delivery(place: str) -> Deliver:
    match place.partition(":")[0]:
        case "file" if place.removeprefix("file:"):
            path = Path(place.removeprefix("file:").removeprefix("//"))
            return lambda note: _append(path, note)
        case "http" | "https":
            return lambda note: _post(place, note)
        case "postgresql" | "postgres":
            return lambda note: _insert(place, note)
        case _:
            raise InvalidInput("witnesses", _without_password(place), "file:PATH, http(s)://… or postgresql://…")


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
