"""The work of `daybook keys seal`: the keys that sign checkpoints, shown, replaced and pinned."""

from collections.abc import Sequence

from adapters.postgres.connections import Role, connect, reaching
from adapters.proof import key_record
from adapters.proof.sealer import Sealer
from adapters.proof.signing_keys import KeyRing
from adapters.proof.tiles import identity, origin_of, tenures
from api.terminal.options import actor, environment, opened
from api.terminal.output import (
    Column,
    Kind,
    note,
    say,
    warn,
    write_json,
    write_table,
)
from api.verify import trust
from api.verify.shared import keys_json
from domain.errors import RequestRefused


def show_keys(*, json: bool) -> None:
    """Show the public keys of checkpoints, and whether their private keys are here."""
    settings = environment()
    with opened(settings) as daybook, reaching(daybook.url), connect(daybook.url, Role.AUDITOR) as connection:
        ledger_id, chain = identity(connection), tenures(connection)
        seqs = [seq for seq, _ in key_record.on_record(connection)]
    ring = KeyRing(settings.home, ledger_id, origin_of(ledger_id)) if ledger_id else None
    home = trust.pins_of_home(settings, is_made=False)
    pinned = {pin.key for pin in home.of(origin_of(ledger_id))} if ledger_id and home else set()
    rows = [
        row | {"is_here": ring is not None and ring.has(each.key), "is_pinned": each.key in pinned}
        for row, each in zip(keys_json(chain, seqs), chain, strict=True)
    ]
    if json:
        write_json({"keys": rows})
        return
    columns = [
        Column("vkey", "Public key"),
        Column("since_size", "Since seq", Kind.NUMBER),
        Column("is_vouched_for", "By the key before"),
        Column("recorded_seq", "On record at seq", Kind.NUMBER),
        Column("is_here", "Private key here"),
        Column("is_pinned", "Pinned here"),
    ]
    write_table(
        "Keys that sign checkpoints", rows, columns, empty="No key yet: the first is created with the first checkpoint."
    )


def rotate_key(*, is_lost: bool, json: bool) -> None:
    """Replace the signing key. The old key signs a last checkpoint, which names the new one; both go on record."""
    settings = environment()
    with opened(settings) as daybook:
        if not is_lost:
            daybook.seal()
        recorder = daybook.key_recorder(actor())
        tenure = Sealer(daybook.url, settings.home, recorder=recorder).rotate(is_lost=is_lost)
        daybook.seal()
    if json:
        write_json({"vkey": tenure.key.vkey, "since_size": tenure.since, "is_vouched_for": tenure.handover is not None})
    else:
        say(tenure.key.vkey)
        note("Publish it where auditors find it. The old private key is no longer needed; its file is kept.")
        if is_lost:
            warn(
                "This is a break in the chain of keys, and on record as one: who has pinned an earlier key must be "
                "given the new one, and pin it with daybook keys seal pin"
            )


def pin_keys(keys: Sequence[str], *, json: bool) -> None:
    """Pin public keys in the home, as they were given by the ledger's owner."""
    settings = environment()
    home = trust.pins_of_home(settings, is_made=True)
    if home is None:
        raise RequestRefused(trust.no_home())
    found = trust.given_keys(keys)
    added = [pin.key.vkey for pin in found if home.add(pin.key)]
    if json:
        write_json({"file": str(home.path), "pinned": added, "known": len(found) - len(added)})
        return
    for vkey in added:
        say(f"Pinned {vkey}")
    say(f"{home.path} has {'it' if len(found) == 1 else 'them'}.")
