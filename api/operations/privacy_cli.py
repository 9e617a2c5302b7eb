"""`daybook redact`: forget a person. Nothing in the log changes, and every hash stays valid."""

from typing import Annotated

import typer

from api.clock import now
from api.terminal.options import actor, name_option, opened
from api.terminal.output import Json, note, say, write_json
from domain.account import ForgetSubject
from domain.errors import RequestRefused


def redact(
    subject: Annotated[str | None, typer.Argument(parser=name_option, metavar="[SUBJECT]")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the log, so nothing personal.")] = "asked to be forgotten",
    again: Annotated[
        bool, typer.Option("--again", help="After a restore: everybody who the log says is forgotten.")
    ] = False,
    json: Json = False,
) -> None:
    """Forget SUBJECT for good: record that it is, then delete the key of all that is personal of it.

    Backups, until they are gone, still have the key: see docs/redaction.md.
    """
    if (subject is None) is not again:
        raise typer.BadParameter("name a SUBJECT, or say --again")
    with opened() as book:
        if subject is not None:
            if not book.subjects.is_known(subject):
                raise RequestRefused("the subject is known; `daybook account list` shows owners", subject_id=subject)
            book.writer.request(ForgetSubject(subject, reason, now()), actor=actor())
        who = book.subjects.forgotten() if subject is None else [subject]
        gone = book.subjects.forget(*who)
        seq = book.log.head().seq
    if json:
        write_json({"seq": seq, "forgotten": who, "forgotten_now": gone})
        return
    for each in who:
        say(f"{each} is forgotten." if each in gone else f"{each} was forgotten already.")
    if not who:
        say("The log says of nobody that they are forgotten.")
    if gone:
        note("Backups made before still have the key, until they are gone: docs/redaction.md.")
