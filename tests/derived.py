"""Derivation of records in memory, as they would be read from a log."""

from collections.abc import Sequence

from adapters.verify.derivation import HeldStreams, appends
from domain.ledger import Derivation, Derived, Item, Recorded, merged, schema


def items(records: Sequence[Recorded]) -> list[Item]:
    """The records as a log has them, from seq 1 on."""
    return [Item(seq, record, *schema.stored(record)[:2]) for seq, record in enumerate(records, 1)]


def derived(records: Sequence[Recorded]) -> Derived:
    """What comes of deciding everything in a log of these records again."""
    return derived_items(items(records))


def derived_items(log: Sequence[Item]) -> Derived:
    """What comes of deciding everything in a log again."""
    held = HeldStreams()
    derivation = Derivation(held)
    for append in appends(log):
        for fault in held.repeated(append):
            derivation.add_fault(fault)
        derivation.add(append)
    return merged([derivation.result])
