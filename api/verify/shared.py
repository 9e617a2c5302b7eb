"""What the commands of verifying share: progress, texts, and files of checkpoints."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note, Tenure
from adapters.verify import bundles
from api.terminal.output import (
    console,
    say,
    warn,
)
from api.verify import trust
from domain.errors import InvalidInput

CHECKPOINTS_FILE_BYTES_MAX = 64 * 1024 * 1024


def checkpoints_in(path: Path | None) -> list[Note]:
    """Return the checkpoints of a file. Raises InvalidInput for any other file."""
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            content = file.read(CHECKPOINTS_FILE_BYTES_MAX + 1)
        if len(content) > CHECKPOINTS_FILE_BYTES_MAX:
            raise InvalidInput("against", str(path), f"a file of at most {CHECKPOINTS_FILE_BYTES_MAX} bytes")
        found = checkpoints.parse_many(content.decode())
    except OSError as error:
        raise InvalidInput("against", str(path), f"a file that can be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("against", str(path), "a file of checkpoints") from error
    if not found:
        raise InvalidInput("against", str(path), "a file of checkpoints: it has none")
    return found


@contextmanager
def bar(what: str, *, is_quiet: bool) -> Iterator[bundles.OnProgress]:
    """Show progress on stderr while something is verified."""
    err = console(is_error=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=is_quiet or not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def encoded_root(raw: bytes) -> str:
    """Return a hash in base64."""
    return base64.b64encode(raw).decode()


def keys_json(chain: Sequence[Tenure], seqs: Sequence[int]) -> list[dict[str, Any]]:
    """Return the keys of a chain: since when each signs, whether the one before vouches for it (None for
    the first), and its event's seq.
    """
    broken = {after.key for _, after in checkpoints.breaks(chain, chain[0].key.name)} if chain else set()
    return [
        {
            "vkey": tenure.key.vkey, "since_size": tenure.since,
            "is_vouched_for": tenure.key not in broken if place else None,
            "recorded_seq": seqs[place] if place < len(seqs) else None,
        }
        for place, tenure in enumerate(chain)
    ]  # fmt: skip


def show_trust(believed: trust.Trust, chain: Sequence[Tenure]) -> None:
    """Say which keys are trusted, and where the chain of keys is broken."""
    for source in dict.fromkeys(f"{pin.key.vkey}: {pin.source}" for pin in believed.pins):
        say(f"Trusted key {source}")
    for before, after in checkpoints.breaks(chain, chain[0].key.name):
        warn(f"The chain of keys is broken: {after.key.vkey} was begun without a statement of {before.key.vkey}")
