"""Proofs of events that may not be sealed yet: waits for the checkpoint, as long as a query may wait."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer

from adapters.postgres.connections import reaching
from adapters.proof.checkpoints import Note
from adapters.proof.proofs import NotSealed, Proofs
from api.daybook import Daybook
from api.problems import Problem, not_found
from api.terminal.options import opened
from api.terminal.output import say, write_json
from domain.errors import InvalidInput, RequestRefused

POLL_SECONDS = 0.02

T = TypeVar("T")


def newest_note(daybook: Daybook, *, is_cosigned: bool) -> tuple[Note, str]:
    """Return the newest checkpoint and its text with cosignatures. Raises Problem if there is none."""
    with reaching(daybook.url):
        found = daybook.proofs.latest_cosigned(daybook.witness_policy if is_cosigned else None, is_required=is_cosigned)
    if found is None:
        raise not_found("a cosigned checkpoint" if is_cosigned else "a checkpoint")
    return found


def sealed(daybook: Daybook, field: str, prove: Callable[[Proofs], T]) -> T:
    """Return a proof once a checkpoint covers its events. Raises Problem if none does in time, InvalidInput."""
    deadline = time.monotonic() + daybook.settings.wait_seconds_max
    while True:
        try:
            with reaching(daybook.url):
                return prove(daybook.proofs)
        except NotSealed as error:
            if error.wanted > (head := daybook.history.head().seq):
                raise InvalidInput(field, error.wanted, f"a place in the log, which ends at {head}") from error
            if time.monotonic() >= deadline:
                raise Problem(503, "behind", "Not sealed yet", str(error), headers={"Retry-After": "1"}) from error
        time.sleep(POLL_SECONDS)


def checkpoint(*, is_cosigned: bool, json: bool) -> None:
    """Show the newest checkpoint, with its cosignatures; or the newest that is cosigned."""
    with opened() as daybook:
        daybook.seal()
        found = newest_note(daybook, is_cosigned=is_cosigned)
    size, text = found[0].checkpoint.size, found[1]
    if json:
        write_json({"size": size, "note": text})
    else:
        typer.echo(text, nl=False)


def prove_event(seq: int, output: Path | None, *, json: bool) -> None:
    """Write a proof of one event, as text (C2SP tlog-proof)."""
    with opened() as daybook:
        daybook.seal()
        with reaching(daybook.url):
            text = daybook.proofs.tlog_proof(seq, daybook.witness_policy).text()
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RequestRefused(f"{output} can be written ({error.strerror})") from error
    if json:
        write_json({"seq": seq, "file": str(output) if output else None, "proof": text})
    elif output is None:
        typer.echo(text, nl=False)
    else:
        say(f"{output}: a proof of event {seq:,}; verify it with daybook verify {output}")
