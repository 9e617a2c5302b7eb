"""`daybook verify`, `export`, `checkpoint` and `keys seal`: what auditors check the book by, and what they take along.

Verifying changes nothing in the database, not even its revision.
"""

from pathlib import Path
from typing import Annotated

import typer

from api.parameters import Moment
from api.terminal.options import MOMENT, AnyAccount
from api.terminal.output import Json

seal_keys = typer.Typer(name="seal", help="The keys that sign checkpoints.", no_args_is_help=True)

Trusted = Annotated[str | None, typer.Option("--key", metavar="VKEY", help="The public key you were given.")]
Against = Annotated[
    Path | None,
    typer.Option("--against", exists=True, dir_okay=False, readable=True, help="Checkpoints kept from before."),
]


def verify_(
    bundle: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="[BUNDLE]")
    ] = None,
    first: Annotated[int, typer.Option("--from", min=1, metavar="SEQ", help="The first event to verify.")] = 1,
    upto: Annotated[int | None, typer.Option("--to", min=1, metavar="SEQ", help="The last one.")] = None,
    against: Against = None,
    key: Trusted = None,
    snapshots: Annotated[
        bool,
        typer.Option("--snapshots", help="Fold long streams again as well, and compare what is remembered of them."),
    ] = False,
    projections: Annotated[
        bool, typer.Option("--projections", help="The read models instead: fold the log again, and compare.")
    ] = False,
    json: Json = False,
) -> None:
    """Recompute every hash and signature, and name the first event that is not what was signed.

    Of a BUNDLE no database and no network is needed; its positions and PnL are refolded from the proved bytes.
    """
    from api.audit.verify import verify_log
    from api.operations.read_models_cli import verify_read_models

    if projections:
        verify_read_models(json=json)
        return
    verify_log(bundle, first, upto, against, key, snapshots=snapshots, json=json)


def snapshots(json: Json = False) -> None:
    """Fold every long stream by this release and remember it, so that the service starts at once after an upgrade."""
    from api.audit import verify

    verify.remember_snapshots(json=json)


def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The bundle to write.")],
    account: AnyAccount = None,
    first: Annotated[
        Moment | None, typer.Option("--from", parser=MOMENT, metavar="SEQ|TIME", help="The first event, or when.")
    ] = None,
    upto: Annotated[
        Moment | None, typer.Option("--to", parser=MOMENT, metavar="SEQ|TIME", help="The last event, or when.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a bundle that proves itself: the whole ledger, or an account, or a period of it."""
    from api.audit import verify

    verify.export(file, account, first, upto, json=json)


def checkpoint(json: Json = False) -> None:
    """Show the newest checkpoint: keep it elsewhere, and `daybook verify --against` it later."""
    from api.audit import verify

    verify.checkpoint(json=json)


@seal_keys.command()
def show(json: Json = False) -> None:
    """Show the public keys that checkpoints are signed by, and whether the newest can be used here."""
    from api.audit.verify import show_keys

    show_keys(json=json)


@seal_keys.command()
def rotate(
    lost: Annotated[bool, typer.Option("--lost", help="Without the old key's word; auditors must be told.")] = False,
    json: Json = False,
) -> None:
    """Begin a new key. The old one signs its last checkpoint, which names the new one."""
    from api.audit.verify import rotate_key

    rotate_key(is_lost=lost, json=json)
