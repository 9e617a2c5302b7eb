"""`daybook database`: the connection settings for PostgreSQL's own tools, never a password."""

import shlex

import typer

from api.terminal.options import environment
from api.terminal.output import Json, note, write_json


def database_(json: Json = False) -> None:
    """Show the connection settings for psql, pg_dump and the like: eval "$(daybook database)"."""
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
