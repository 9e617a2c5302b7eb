"""What happened in one line: the key fields of an event, for people who read the log."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.errors.codes import Code
from domain.errors.sentences import code_of, sentence

LINE_CHARACTERS_MAX = 160
ITEMS_SHOWN_MAX = 3
_SPACED = re.compile(r"(?<=[a-z])(?=[A-Z])")
_IN_THE_STREAM = frozenset({"type", "key", "account_id", "transact_time"})

Event = Mapping[str, Any]


def in_words(topic: str, event: Event) -> str:
    """Return one line about an event: its main fields in words, or else every simple field by its name."""
    name = topic.partition(".v")[0]
    said = _SAID[name](event) if name in _SAID else ", ".join(_fields(event))
    flat = " ".join((said or _SPACED.sub(" ", name).lower()).split())
    return flat if len(flat) <= LINE_CHARACTERS_MAX else flat[: LINE_CHARACTERS_MAX - 1] + "…"


def code_of_event(event: Event) -> Code | None:
    """Return the code of the rule that refused, or was broken; None for an event that states none."""
    rule = event.get("rule")
    return code_of(rule) if isinstance(rule, str) else None


def lines(record: Any, indent: int = 0) -> Iterator[str]:
    """Yield a record in full as indented lines, a field each."""
    pad = "  " * indent
    pairs = (
        record.items()
        if isinstance(record, Mapping)
        else ((f"[{number}]", one) for number, one in enumerate(record, 1))
    )
    for name, value in pairs:
        if isinstance(value, Mapping | list) and value:
            yield f"{pad}{name}:"
            yield from lines(value, indent + 1)
        else:
            yield f"{pad}{name}: {_plain(value)}"


def _plain(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case []:
            return "none"
        case _:
            return str(value)


def _fields(event: Event, above: str = "") -> Iterator[str]:
    for name, value in event.items():
        if name in _IN_THE_STREAM:
            continue
        match value:
            case {"amount": amount, "currency": currency}:
                yield f"{above}{name} {amount} {currency}"
            case Mapping():
                yield from _fields(value, f"{name}.")
            case []:
                continue
            case list():
                yield f"{above}{name}: {_items(value)}"
            case _:
                yield f"{above}{name} {_plain(value)}"


def _items(values: Sequence[Any]) -> str:
    if any(isinstance(value, Mapping | list) for value in values):
        return f"{len(values)}"
    more = f" and {len(values) - ITEMS_SHOWN_MAX} more" if len(values) > ITEMS_SHOWN_MAX else ""
    return " ".join(map(str, values[:ITEMS_SHOWN_MAX])) + more


def _terms(event: Event) -> str:
    terms = event["terms"]
    price = f" at {terms['price']}" if terms.get("price") else ""
    stop = f" stop {terms['stop_px']}" if terms.get("stop_px") else ""
    qty, what = terms.get("order_qty", "?"), terms.get("ord_type", "")
    rest = " ".join(filter(None, (what, terms.get("time_in_force", ""), *terms.get("exec_inst", ()))))
    return (
        f"{terms.get('side', '')} {qty} {terms.get('instrument_id', '')}{price}{stop}, {rest}, {terms['strategy_id']}"
    )


def _refused(event: Event) -> str:
    return f"refused, {code_of(event['rule'])}: {sentence(event['rule'], event.get('facts') or {})}: {_terms(event)}"


def _broken(event: Event) -> str:
    return f"{code_of(event['rule'])}: {', '.join(_fields(event))}"


def _money(value: Any) -> str:
    return f"{value['amount']} {value['currency']}" if isinstance(value, Mapping) else _plain(value)


def _fees(event: Event) -> str:
    charged = [event["insurance"]] if event.get("insurance") else []
    return " and ".join(map(_money, (event.get("commission"), *event.get("further_commissions", ()), *charged)))


def _filled(event: Event) -> str:
    fee = f", fee {_fees(event)}" if event.get("commission") else ""
    kind = f"{event['kind']}: " if event.get("kind") else ""
    return (
        f"{kind}{event['side']} {event['last_qty']} {event['instrument_id']} at {event['last_px']}{fee}, "
        f"{event['exec_id']}"
    )


def _booked(event: Event) -> str:
    effect = event["effect"]
    late = ", late" if event.get("is_late") else ""
    return (
        f"{event['side']} {event['last_qty']} at {event['last_px']}: quantity {effect['quantity']}, "
        f"cost {effect['cost']}, realized {effect['realized']}, fee {_fees(event)}{late}, "
        f"{event['exec_id']}"
    )


def _scope(scope: Event | None) -> str:
    parts = [f"{name.removesuffix('_id')} {value}" for name, value in (scope or {}).items() if value]
    return f" of {', '.join(parts)}" if parts else ""


def _limit(event: Event) -> str:
    unit = f" {event['currency']}" if event.get("currency") else ""
    value = "lifted" if event.get("limit") is None else f"set to {event['limit']}{unit}"
    status = f" {event['status']}" if event.get("status") else ""
    moved = f", {event['moved_from']} before" if event.get("moved_from") else ""
    return f"{event['measure']}{_scope(event.get('scope'))}{status} {value}{moved}"


def _shadowed(event: Event) -> str:
    decided = event["decided"]
    if decided["type"].startswith("HoldRefused"):
        return f"would refuse {decided['key']['cl_ord_id']}: {decided['rule']}: {_numbers(decided.get('failed'))}"
    return f"{event['measure']}{_scope(event.get('scope'))} in shadow: {decided['type']}"


def _numbers(check: Event | None) -> str:
    return f"used {check['used']}, requested {check['asked']}, limit {check['limit']}" if check else "not measured"


def _held(event: Event) -> str:
    checks = event.get("judged") or ()
    return (
        f"{event['side']} {event['quantity']} {event['instrument_id']} held"
        + (f", worth {event['notional']}" if event.get("notional") else "")
        + f", {len(checks)} limits checked"
    )


_SAID = {
    "OrderSubmitted": _terms,
    "OrderAdopted": lambda event: ", ".join(_fields(event)),
    "OrderRefused": _refused,
    "OrderBroken": _broken,
    "OrderBreakWithdrawn": _broken,
    "PositionBroken": _broken,
    "AccountBroken": _broken,
    "HoldRefused": _broken,
    "OrderFilled": _filled,
    "TradeBooked": _booked,
    "LimitSet": _limit,
    "ShadowDecided": _shadowed,
    "HoldPlaced": _held,
}
