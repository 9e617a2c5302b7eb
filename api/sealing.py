"""Sealing: the sealer beside the service, and behind every command that records something on its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from adapters.store import witnesses
from adapters.store.notes import Note
from adapters.store.seal import Sealer
from adapters.store.witnesses import Witnesses
from api.wiring import Daybook
from domain.errors import LedgerError

RETRY_SECONDS = 1.0
STOP_SECONDS_MAX = 15.0

log = structlog.get_logger("daybook.sealer")


@contextmanager
def sealing(book: Daybook) -> Iterator[None]:
    """Seals the log in a thread of its own, through losses of the database, and hands checkpoints to the witnesses."""
    stop, told = threading.Event(), Witnesses(witnesses.places(book.settings.witnesses.get_secret_value()), _trouble)
    sealer = Sealer(book.url, book.settings.home, told.hand)

    def follow() -> None:
        while not stop.is_set():
            try:
                sealer.follow(stop, lambda error: log.warning("not sealing", reason=str(error)))
            except LedgerError as error:
                log.warning("not sealing", reason=str(error))
                stop.wait(RETRY_SECONDS)

    thread = threading.Thread(target=follow, name="daybook sealer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_SECONDS_MAX)
        told.close()


def seal(book: Daybook) -> Note | None:
    """Seal what there is, unless another process does already; the checkpoint. Raises what `Sealer.seal` raises."""
    told = Witnesses(witnesses.places(book.settings.witnesses.get_secret_value()), _trouble)
    try:
        return Sealer(book.url, book.settings.home, told.hand).seal()
    finally:
        told.close()


def _trouble(witness: str, reason: str) -> None:
    if reason:
        log.warning("witness not reached", witness=witness, reason=reason)
    else:
        log.info("witness reached again", witness=witness)
