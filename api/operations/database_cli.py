"""`daybook database`: the connection settings for PostgreSQL's own tools, never a password; what an administrator runs
to prepare a database for an owner who may not create roles; and logins for tools that read the SQL views.
"""

import shlex
import sys
from typing import Annotated

import typer

from api.terminal.options import environment
from api.terminal.output import Json, note, say, write_json

database = typer.Typer(
    name="database",
    help="Show the connection settings for psql, pg_dump and the like; prepare a database on a shared server.",
)


@database.callback(invoke_without_command=True)
def settings_(context: typer.Context, json: Json = False) -> None:
    """Show the connection settings for psql, pg_dump and the like: eval "$(daybook database)"."""
    if context.invoked_subcommand is not None:
        return
    settings = environment()
    variables: dict[str, str] = {}
    programs = ""
    if settings.url:
        from psycopg.conninfo import conninfo_to_dict

        given = conninfo_to_dict(settings.url)
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "sslmode": "PGSSLMODE"}
        variables |= {variable: str(given[name]) for name, variable in names.items() if given.get(name)}
        if given.get("password"):
            note("The password is not shown: set PGPASSWORD, or store it in ~/.pgpass.")
    else:
        from adapters.postgres import embedded

        place = embedded.place(settings.server_home())
        variables |= {"PGHOST": str(place.socket), "PGPORT": str(embedded.PORT), "PGUSER": embedded.SUPERUSER}
        variables |= {"PGDATABASE": embedded.DATABASE, "PGDATA": str(place.data), "PGACCOUNT": place.account}
        programs = str(place.programs)
    if json:
        write_json(variables | ({"programs": programs} if programs else {}))
        return
    for variable, value in variables.items():
        typer.echo(f"export {variable}={shlex.quote(value)}")
    if programs:
        typer.echo(f'export PATH={shlex.quote(programs)}:"$PATH"')


@database.command()
def prepare(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The account that Daybook logs in as; it must exist.")],
    name: Annotated[str, typer.Option("--database", metavar="NAME", help="The database.")],
    create: Annotated[bool, typer.Option("--create", help="Create the database too.")] = False,
    run: Annotated[
        bool, typer.Option("--run", help="Run the statements as the account of DAYBOOK_DATABASE_URL, an administrator.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the SQL by which an administrator of a PostgreSQL server prepares a database for Daybook.

    For an owner who may not create roles. The database gets roles of its own, and only the owner may connect.
    """
    from adapters.postgres import preparing

    settings = environment()
    if run:
        statements = preparing.run(settings.url or "", name, owner, creates=create)
    else:
        statements = preparing.statements(name, owner, creates=create)
    if json:
        write_json({"database": name, "owner": owner, "is_run": run, "statements": statements})
        return
    for statement in statements:
        say(f"{statement};")
    if run:
        note(f"Done: {owner} may open the database {name} with Daybook now.")
    else:
        note("Nothing was run. Give this to psql as an administrator of the server, or repeat the command with --run.")


@database.command()
def reader(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The login: a name for one person or one tool.")],
    run: Annotated[bool, typer.Option("--run", help="Make the login, and set its password.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the login and end its sessions.")] = False,
    json: Json = False,
) -> None:
    """Print or run the SQL that lets a tool read the SQL views, and nothing else.

    With --run the password is typed, or read from standard input where that is no terminal; an empty one leaves the
    login without. It is hashed before it is sent. See docs/sql.md for the views.
    """
    from adapters.postgres import readers
    from adapters.postgres.connections import locate

    settings = environment()
    url = settings.url or locate(settings.server_home(), None)
    if remove:
        readers.remove(url, name)
        note(f"Removed: {name} can log in no more.")
        return
    statements = readers.make(url, name, _new_password()) if run else readers.statements(url, name)
    if json:
        write_json({"login": name, "is_run": run, "statements": statements})
        return
    for statement in statements:
        say(f"{statement};")
    if run:
        note(f"Done: {name} may read the views of docs/sql.md now.")
    else:
        note(rf"Nothing was run. Give this to psql, then set the password there by \password {name}; or use --run.")


def _new_password() -> str | None:
    if sys.stdin.isatty():
        given: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, default="", show_default=False)
    else:
        given = sys.stdin.readline().rstrip("\n")
    return given or None
