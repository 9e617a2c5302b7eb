"""`daybook upgrade`: bring the database of an older Daybook to the revision of this one."""

from typing import Annotated, Any

import typer

from api.terminal.options import environment
from api.terminal.output import Column, Json, note, say, write_json, write_table


def upgrade(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Upgrade the database to the revision of this Daybook, in one transaction. No other command does.

    Back it up first, and stop the services of the older Daybook (docs/operations.md). Only a backup leads back.
    """
    found = upgraded(is_dry_run=dry_run)
    if json:
        write_json(found)
        return
    columns = [Column("revision", "Revision"), Column("change", "Change")]
    title = "Would be applied" if dry_run else "Applied"
    write_table(title, found["revisions"], columns, empty=f"The database {found['database']} is current.")
    if found["leader"] is not None:
        note(f"A service still writes to it: {found['leader']}. Stop it, and start the new one after the upgrade.")
    if found["is_upgraded"]:
        say(f"The database {found['database']} is at revision {found['to']}.")
    elif dry_run and found["revisions"]:
        say("Nothing was changed.")


def upgraded(*, is_dry_run: bool = False) -> dict[str, Any]:
    """Upgrade the database of the environment. Return what was or would be done. Raises HistoryBroken, Unavailable."""
    from adapters.postgres import connections, migrations
    from adapters.writer import leadership

    settings = environment()
    url = settings.url or connections.locate(settings.server_home(), None)
    before = migrations.revision_of(url)
    revisions = migrations.pending(before)
    leader = leadership.present(url) if before is not None and before >= leadership.SINCE_REVISION else None
    is_upgraded = bool(revisions) and not is_dry_run
    if is_upgraded:
        migrations.migrate(url)
    return {
        "database": connections.name(url),
        "from": before,
        "to": migrations.NEWEST,
        "revisions": [one._asdict() for one in revisions],
        "leader": None if leader is None else str(leader),
        "is_upgraded": is_upgraded,
    }
