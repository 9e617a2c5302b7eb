"""`daybook verify`, `snapshots`, `export`, `checkpoint` and `keys seal`: commands for auditors.

Verifying changes nothing in the database, not even its revision.
"""

from pathlib import Path
from typing import Annotated

import typer

from api.parameters import Moment
from api.terminal.options import MOMENT, AnyAccount, AsOf, InstrumentId
from api.terminal.output import Json
from domain.errors import InvalidInput

seal_keys = typer.Typer(name="seal", help="Show and rotate the key that signs checkpoints.", no_args_is_help=True)

Trusted = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="VKEY|FILE", help="A public key you trust, as it was given to you, or a file of them."
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        "--against", exists=True, dir_okay=False, readable=True, help="A file of checkpoints kept from earlier."
    ),
]

Proof = Annotated[
    Path | None,
    typer.Argument(
        exists=True,
        dir_okay=False,
        readable=True,
        metavar="[BUNDLE|PROOF]",
        help="A bundle, a proof of a figure, or a .tlog-proof; by default the database.",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        exists=True,
        dir_okay=False,
        readable=True,
        help="A C2SP tlog-policy file: its quorum must hold.",
    ),
]


def verify_(
    bundle: Proof = None,
    first: Annotated[int, typer.Option("--from", min=1, metavar="SEQ", help="The first event to verify.")] = 1,
    upto: Annotated[int | None, typer.Option("--to", min=1, metavar="SEQ", help="The last event to verify.")] = None,
    against: Against = None,
    key: Trusted = None,
    policy: PolicyFile = None,
    snapshots: Annotated[
        bool,
        typer.Option("--snapshots", help="Also fold long streams again, and compare their snapshots."),
    ] = False,
    derivation: Annotated[
        bool | None,
        typer.Option(
            "--derivation/--no-derivation",
            help="Also decide every request and report of the log again, and compare what follows; of a bundle by "
            "default.",
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also fold the log again, and compare the figures of closings.")
    ] = False,
    projections: Annotated[
        bool, typer.Option("--projections", help="Verify the read models instead: fold the log again, and compare.")
    ] = False,
    json: Json = False,
) -> None:
    """Recompute every hash and signature, and name the first event that differs from what was signed.

    A BUNDLE is verified without a database or network; its positions and PnL are computed from the proved bytes. It is
    complete (exit code 0), incomplete (1), or completeness is not shown (5). A PROOF is of one figure of a closing, or
    of one event. With --derivation a booking, hold or break that does not follow from its request or report is named.
    """
    from api.operations.read_models_cli import verify_read_models
    from api.verify.database import Wanted, verify_log

    if projections:
        if bundle is not None or derivation or snapshots:
            raise InvalidInput("projections", True, "by itself: it verifies the read models, and the log another run")
        verify_read_models(json=json)
        return
    verify_log(
        bundle=bundle, first=first, upto=upto, against=against, keys=key or (), policy_file=policy,
        wanted=Wanted(snapshots, derivation, figures), json=json,
    )  # fmt: skip


def commit_marks(json: Json = False) -> None:
    """Commit prices to the log that were recorded before Daybook did so, as they are now.

    `daybook serve` and every recording of marks do this by themselves; afterwards `daybook verify` covers them.
    """
    from api.verify import marks

    marks.commit_marks(json=json)


def prove_mark(instrument: InstrumentId, as_of: AsOf = None, json: Json = False) -> None:
    """Prove that the newest mark of an instrument, as known at a moment, is in a batch of the log."""
    from api.verify import marks

    marks.prove_mark(instrument, as_of, json=json)


def snapshots(json: Json = False) -> None:
    """Write the snapshots of long streams for this release, so that the service starts at once after an upgrade."""
    from api.verify import database

    database.remember_snapshots(json=json)


def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The bundle to write.")],
    account: AnyAccount = None,
    first: Annotated[
        Moment | None,
        typer.Option("--from", parser=MOMENT, metavar="SEQ|TIME", help="The first event: its seq, or a time."),
    ] = None,
    upto: Annotated[
        Moment | None,
        typer.Option("--to", parser=MOMENT, metavar="SEQ|TIME", help="The last event: its seq, or a time."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--checkpoint", min=1, metavar="SIZE", help="Prove it by the checkpoint of this many events."),
    ] = None,
    json: Json = False,
) -> None:
    """Export a bundle with its proofs: the whole ledger, one account, or a period.

    It shows that it is complete. A recipient who kept an older checkpoint needs it by that one: name its size.
    """
    from api.verify import bundle_files

    bundle_files.export(file, account, first, upto, size=size, json=json)


def checkpoint(
    cosigned: Annotated[
        bool,
        typer.Option("--cosigned", help="The newest that meets DAYBOOK_WITNESS_POLICY, or has any cosignature."),
    ] = False,
    json: Json = False,
) -> None:
    """Show the newest checkpoint. Keep it elsewhere, and later run `daybook verify --against` it."""
    from api.audit import proofs

    proofs.checkpoint(is_cosigned=cosigned, json=json)


def proof(
    seq: Annotated[int, typer.Argument(min=1, metavar="SEQ", help="The event.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="The file, such as 7.tlog-proof.")
    ] = None,
    json: Json = False,
) -> None:
    """Prove that one event is in the log, in a C2SP tlog-proof file that `daybook verify` checks offline."""
    from api.audit import proofs

    proofs.prove_event(seq, output, json=json)


@seal_keys.command()
def show(json: Json = False) -> None:
    """Show the public keys of checkpoints, and whether their private keys are here."""
    from api.verify.signing_keys import show_keys

    show_keys(json=json)


@seal_keys.command()
def rotate(
    lost: Annotated[
        bool, typer.Option("--lost", help="The old key is lost: it cannot vouch for the new one. Inform your auditors.")
    ] = False,
    json: Json = False,
) -> None:
    """Replace the signing key. The old key signs a last checkpoint, which names the new one; both go on record."""
    from api.verify.signing_keys import rotate_key

    rotate_key(is_lost=lost, json=json)


@seal_keys.command()
def pin(
    keys: Annotated[list[str], typer.Argument(metavar="VKEY|FILE...", help="Public keys, or files of them.")],
    json: Json = False,
) -> None:
    """Pin public keys in this home, as the ledger's owner gave them to you: verify trusts these, and no others."""
    from api.verify.signing_keys import pin_keys

    pin_keys(keys, json=json)
