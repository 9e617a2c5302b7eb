"""Samples with the fields that were added to released shapes: each is absent unless it says something."""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import fields, replace

from domain.ledger import Recorded, schema
from domain.order import OrderFilled
from domain.values import Money, PositionSide, TradeKind

VALUES = {
    "is_corrected": True,
    "position_side": PositionSide.LONG,
    "transferred": D("48750.125"),
    "further_commissions": (Money(D("0.001"), "BNB"),),
    "further_fees": (Money(D("0.001"), "BNB"),),
}
DEFAULTS: dict[str, dict[str, Any]] = {  # fields that are left out at their default, by topic
    "InstrumentDelisted": {"settlement_px": D("45000.5")},
    "InstrumentRedenominated": {"fraction_px": D("0.125"), "is_renaming": True},
    "OrderRestated": {"instrument_id": "REIUSDT.SIM", "stop_px": D("0.155")},
}


def records(recorded: tuple[Recorded, ...]) -> dict[str, Recorded]:
    """Records with one later field, wherever they have it, by the name of their golden file."""
    found = {}
    for each in recorded:
        for name in sorted(set(unset(each.event))):
            topic = schema.topic_of(each.event)
            found[f"{topic}+{name}"] = replace(each, event=filled(each.event, name))
        if isinstance(each.event, OrderFilled):
            liquidated = replace(each.event, kind=TradeKind.LIQUIDATION, insurance=Money(D("12.5"), "USDT"))
            found[f"{schema.topic_of(each.event)}+insurance"] = replace(each, event=liquidated)
        for name, value in DEFAULTS.get(schema.topic_of(each.event), {}).items():
            found[f"{schema.topic_of(each.event)}+{name}"] = replace(each, event=replace(each.event, **{name: value}))
    return found


def unset(value: Any) -> Iterator[str]:
    """Yield the names of fields that are not set, at any depth."""
    for name, part in parts(value):
        if part is UNSET:
            yield name
        else:
            yield from unset(part)


def filled(value: Any, name: str) -> Any:
    """Return a value in which the fields of a name are set, at any depth."""
    if isinstance(value, Struct):
        changed = {each: VALUES[each] if each == name else part for each, part in parts(value) if part is UNSET}
        kept = {each: filled(part, name) for each, part in parts(value) if part is not UNSET}
        return replace(value, **kept, **changed)
    return type(value)(filled(part, name) for part in value) if type(value) in (tuple, list) else value


def parts(value: Any) -> list[tuple[str, Any]]:
    """Return the parts of a struct or list, each with its name."""
    if isinstance(value, Struct):
        return [(each.name, getattr(value, each.name)) for each in fields(value)]
    return [("", part) for part in value] if type(value) in (tuple, list) else []
