"""`daybook redact`: erase a person's data. Nothing in the log changes, and every hash stays valid."""

from typing import Annotated

import typer

from api.clock import now
from api.terminal.options import opened, plain_name_option
from api.terminal.output import Json, note, say, write_json
from api.terminal.requests import requested
from domain.account import ForgetSubject
from domain.errors import RequestRefused


def redact(
    subject: Annotated[
        str | None, typer.Argument(parser=plain_name_option, metavar="[SUBJECT]", help="The id of the person.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why; stored in the log, so write nothing personal.")
    ] = "requested to be forgotten",
    again: Annotated[
        bool,
        typer.Option("--again", help="Delete again the keys of all subjects forgotten by the log, after a restore."),
    ] = False,
    json: Json = False,
) -> None:
    """Forget a person for good: record the request, then delete the key of the person's sealed data.

    Backups made before still hold the key until they expire: see docs/redaction.md.
    """
    if (subject is None) is not again:
        raise typer.BadParameter("name a SUBJECT, or use --again")
    with opened() as daybook:
        if subject is not None:
            if not daybook.subjects.is_known(subject):
                raise RequestRefused("the subject is known; `daybook account list` shows owners", subject_id=subject)
            requested(daybook, ForgetSubject(subject, reason, now()), json=json)
        who = daybook.subjects.forgotten() if subject is None else [subject]
        gone = daybook.subjects.forget(*who)
        seq = daybook.log.head().seq
    if json:
        write_json({"seq": seq, "forgotten": who, "forgotten_now": gone})
        return
    for each in who:
        say(f"{each} is forgotten." if each in gone else f"{each} was forgotten already.")
    if not who:
        say("The log has no forgotten subjects.")
    if gone:
        note("Backups made before still hold the key until they expire: see docs/redaction.md.")
