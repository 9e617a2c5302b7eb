"""What to do about a database or a home that cannot be used, by where its place came from.

A message names a variable only if setting it changes something: DAYBOOK_DATABASE_URL if the URL in use is the one in
it, DAYBOOK_HOME unless an option outranks it. A URL that the program itself was given, such as a witness's, is named by
none.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

URL = "DAYBOOK_DATABASE_URL"
HOME = "DAYBOOK_HOME"
PROGRAMS = "DAYBOOK_PG_BIN"
SERVER_LOG = "server.log"

_home_from: ContextVar[str] = ContextVar("home_from", default=HOME)
_takes_url: ContextVar[bool] = ContextVar("takes_url", default=True)


@contextmanager
def given(*, home_from: str = HOME, takes_url: bool = True) -> Iterator[None]:
    """State for what follows what names the home (a variable or an option), and whether a URL is used if one is set."""
    home, takes = _home_from.set(home_from), _takes_url.set(takes_url)
    try:
        yield
    finally:
        _home_from.reset(home)
        _takes_url.reset(takes)


def is_from_environment(url: str) -> bool:
    """Return whether this URL is the one in DAYBOOK_DATABASE_URL."""
    return any(name.upper() == URL and value == url for name, value in os.environ.items())


def own_home(url: str) -> Path | None:
    """Return the directory of our own server that a URL leads to; None for any other server."""
    if is_from_environment(url) or urlsplit(url).netloc != "daybook@":
        return None
    try:
        found: dict[str, Any] = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return None
    socket = Path(str(found.get("host", "")))
    return socket.parent if socket.name == "run" and os.path.exists(socket.parent / "data") else None  # noqa: PTH110


def unreached(url: str) -> str:
    """Return what to do when a database cannot be reached."""
    if is_from_environment(url):
        return f"see that it runs and that {URL} names it"
    if (own := own_home(url)) is not None:
        return f"it is Daybook's own, which the next command starts again; see its log, {own / SERVER_LOG}"
    return "see that it runs and that its URL is right"


def another(url: str) -> str:
    """Return how to name another database, as the end of a sentence."""
    if is_from_environment(url):
        return f"does {URL} name the right one?"
    return "is it in the right home?" if own_home(url) is not None else "is its URL the right one?"


def directly(url: str) -> str:
    """Return how to go around what stands between Daybook and PostgreSQL."""
    return f"let {URL if is_from_environment(url) else 'its URL'} name the server itself"


def elsewhere() -> str:
    """Return how to choose another home."""
    return f"{'set' if _home_from.get() == HOME else 'give'} {_home_from.get()} elsewhere"


def programs(needed: str | None) -> str:
    """Return how to get PostgreSQL's programs, of the version that wrote the data if there is any."""
    chosen = os.environ.get(PROGRAMS)
    if chosen:
        fits = f"of PostgreSQL {needed}" if needed else "of a PostgreSQL"
        return f"let {PROGRAMS}, which is {chosen}, name the programs {fits}, or unset it"
    if needed:
        return f"install PostgreSQL {needed}, or set {PROGRAMS} to the directory of its programs"
    server = f", or {URL} to use another server" if _takes_url.get() else ""
    return f"run `make setup`, install the system's postgresql, or set {PROGRAMS} to its programs{server}"
