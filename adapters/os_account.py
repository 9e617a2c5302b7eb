"""The account of the operating system that runs this process, as the kernel and the database of accounts have it.

Environment variables decide nothing here: what they claim is recorded as a claim.
"""

import os
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path

from domain.access import Claim, OsAccount, claim
from domain.access.identity import escaped

LOGIN_UID = Path("/proc/self/loginuid")  # Linux: set once at login, and kept behind sudo and su
NO_LOGIN = 2**32 - 1
CLAIMING = ("SUDO_USER", "LOGNAME", "USER")


def os_account(environ: Mapping[str, str] = {}, *, claimed: str = "") -> OsAccount:
    """Return this process's account; `environ` and `claimed` (of `--actor`) add names that are only claimed."""
    uid, effective = os.getuid(), os.geteuid()
    user, login = _name(uid), _login_uid()
    return OsAccount(
        uid, escaped(user), escaped(socket.gethostname()),
        effective_uid=effective if effective != uid else None,
        login_uid=login if login is not None and login != uid else None,
        login_user=escaped(_name(login)) if login is not None and login != uid else "",
        claims=_claims(environ, claimed, user),
    )  # fmt: skip


def _claims(environ: Mapping[str, str], claimed: str, user: str) -> tuple[Claim, ...]:
    """Return what is claimed: by `--actor` always, by a variable where it is another name than the account's."""
    found = [claim("--actor", claimed)] if claimed else []
    for source in CLAIMING:
        name = environ.get(source, "")
        if name and name != user and claim(source, name).name not in {each.name for each in found}:
            found.append(claim(source, name))
    return tuple(found)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run under a number alone
        return ""


def _login_uid() -> int | None:
    try:
        found = int(LOGIN_UID.read_text())
    except (OSError, ValueError):
        return None
    return None if found == NO_LOGIN else found
