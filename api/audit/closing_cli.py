"""`daybook close` and `daybook prove`: figures that are committed to the log, and proofs of single ones."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.terminal.options import actor, currency_option, instrument_option, name_option, opened
from api.terminal.output import Json, note, say, write_json
from domain import names
from domain.errors import RequestRefused
from domain.sealed.figures import day_figure, position_figure
from domain.values import PositionSide

prove = typer.Typer(name="prove", help="Prove one figure of a closing: balance, position, pnl.", no_args_is_help=True)

ACCOUNT = typer.Argument(parser=name_option, metavar="ACCOUNT")
INSTRUMENT = typer.Argument(parser=instrument_option, metavar="INSTRUMENT")
Strategy = Annotated[str, typer.Option("--strategy", parser=name_option, metavar="ID")]
AsOf = Annotated[
    int | None, typer.Option("--as-of", min=1, metavar="SEQ", help="A closing as of this seq; by default the newest.")
]
Size = Annotated[
    int | None,
    typer.Option("--checkpoint", min=1, metavar="SIZE", help="Prove by the checkpoint of this many events."),
]
Output = Annotated[
    Path | None, typer.Option("--output", dir_okay=False, help="The file of the proof; by default standard output.")
]


def close(
    as_of: Annotated[
        int | None,
        typer.Option("--as-of", min=1, metavar="SEQ", help="Close as of this seq; by default the log's end."),
    ] = None,
    json: Json = False,
) -> None:
    """Commit to all balances, positions and closed days' PnL as of a seq, so that each can be proved by itself."""
    from api.audit.closing import closing_json, closing_request, keep

    with opened() as daybook:
        daybook.runner.catch_up()
        request, tree = closing_request(daybook, as_of)
        answer = daybook.writer.request(request, actor=actor())
        keep(daybook, request, tree)
    if json:
        write_json(closing_json(request, answer))
        return
    say(
        f"{request.figures:,} figures as of seq {request.as_of_seq:,} are "
        f"{'closed' if answer.records else 'closed already'}, with the days before {request.closed_before}."
    )
    note("Prove one with daybook prove.")


@prove.command()
def balance(
    account: Annotated[str, ACCOUNT],
    asset: Annotated[str, typer.Argument(parser=currency_option, metavar="ASSET")],
    venue: Annotated[str, typer.Option(help="The venue it is at; empty for money at no single venue.")] = "",
    as_of: AsOf = None,
    checkpoint: Size = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """Prove a balance, or that there never was one."""
    _write(names.stream("balance", account, venue, asset), as_of, checkpoint, output, json=json)


@prove.command()
def position(
    account: Annotated[str, ACCOUNT],
    instrument: Annotated[str, INSTRUMENT],
    strategy: Strategy = "main",
    position_side: Annotated[PositionSide, typer.Option(help="The leg of hedge mode.")] = PositionSide.BOTH,
    as_of: AsOf = None,
    checkpoint: Size = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """Prove a position, or that there never was one."""
    _write(position_figure(account, strategy, instrument, position_side), as_of, checkpoint, output, json=json)


@prove.command()
def pnl(
    day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], metavar="DAY", help="A closed day (UTC).")],
    account: Annotated[str, ACCOUNT],
    instrument: Annotated[str, INSTRUMENT],
    strategy: Strategy = "main",
    position_side: Annotated[PositionSide, typer.Option(help="The leg of hedge mode.")] = PositionSide.BOTH,
    as_of: AsOf = None,
    checkpoint: Size = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """Prove a position's PnL of a closed day, or that nothing was booked on that day."""
    of_day: date = day.date()
    _write(day_figure(of_day, account, strategy, instrument, position_side), as_of, checkpoint, output, json=json)


def _write(key: str, as_of: int | None, size: int | None, output: Path | None, *, json: bool) -> None:
    from adapters.figures import figure_proofs
    from api.audit.closing import prove as proved

    with opened() as daybook:
        daybook.seal()
        daybook.runner.catch_up()
        proof = proved(daybook, key, as_of_seq=as_of, size=size)
        content = figure_proofs.encoded(proof)
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise RequestRefused(f"{output} can be written ({error.strerror})") from error
    if json:
        write_json({"file": str(output), "key": key, "is_there": proof.figure is not None, "seq": proof.closing.seq})
        return
    note(f"{output}: check it with daybook verify {output} --key …")
