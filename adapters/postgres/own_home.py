"""Which homes this account made: only in those is a PostgreSQL started without being named.

The settings and the catalog of a PostgreSQL directory can run any program. A folder from a stranger may bring a
`.daybook` along, so the one in the current directory is used only if it carries a mark that is also on record outside:
in `daybook/homes` under XDG_STATE_HOME, by default `~/.local/state`. A home named by DAYBOOK_HOME is used as it is.
"""

import os
import secrets
import time
from pathlib import Path

from domain.errors import Unavailable

MARK = "origin"  # a file in a home
MARK_CHARS = 32
HOMES_BYTES_MAX = 2**20
WRITE_SECONDS_MAX = 0.5
PRIVATE = 0o700


def check(home: Path) -> None:
    """Mark a new home as ours, or check that an existing one is. Raises Unavailable if it is another's."""
    home = home.expanduser().absolute()
    try:
        mark = home / MARK
        if not home.exists() or not any(home.iterdir()):
            _make(home)
        if mark.is_file() and _complete(mark) in _known():
            return
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unavailable(f"{home} cannot be checked or made ({reason}); set DAYBOOK_HOME to a directory") from error
    raise Unavailable(
        f"{home} was not made here by this account, and a PostgreSQL directory can run any program; if you trust it, "
        f"set DAYBOOK_HOME={home}"
    )


def _make(home: Path) -> None:
    """Create a home with a mark, which is put on record first."""
    mark = secrets.token_hex(MARK_CHARS // 2)
    homes = _homes()
    homes.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    with os.fdopen(os.open(homes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as file:
        file.write(mark + "\n")
    home.mkdir(parents=True, exist_ok=True)
    try:
        with (home / MARK).open("x") as file:
            file.write(mark)
    except FileExistsError:  # another process was first
        return


def _known() -> frozenset[str]:
    homes = _homes()
    if not homes.exists():
        return frozenset()
    with homes.open("rb") as file:
        file.seek(max(homes.stat().st_size - HOMES_BYTES_MAX, 0))
        return frozenset(file.read(HOMES_BYTES_MAX).decode("ascii").split())


def _complete(mark: Path) -> str:
    """Return a mark, waiting a moment for another process that has just begun to write it; empty if it is none."""
    deadline = time.monotonic() + WRITE_SECONDS_MAX
    while True:
        with mark.open("rb") as file:
            found = file.read(MARK_CHARS + 1).decode("ascii")
        if len(found) >= MARK_CHARS or time.monotonic() > deadline:
            return found if len(found) == MARK_CHARS else ""
        time.sleep(WRITE_SECONDS_MAX / 50)


def _homes() -> Path:
    given = os.environ.get("XDG_STATE_HOME", "")
    state = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    return state / "daybook" / "homes"
