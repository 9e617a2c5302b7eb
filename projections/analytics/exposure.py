"""Exposure: the size of what is held at given marks, by coin and by derivative.

What is held of a coin are its spot positions, and what else moved it (rows of kind COIN, without an instrument): the
payments of crosses, fees paid in third coins, gains settled in it, and cash (deposits, income; what is borrowed is owed
as well). A coin that has left again is no exposure. The base currency of an account, the currency that exposure is
measured in, and currencies held equal to them are cash, and no exposure. With a strategy, instrument or leg selected
only what its positions moved is counted; a payment and a fee count for the strategy that paid them.

`notional` is in quote currency, below zero when short; an option's is its premium, and that of an option or quanto is
in settlement currency, which its `quote` then names. A coin has one price: that of a pair it is traded in, rather one
that is quoted in the account's base currency. `gross` is the sum of what is held without signs, with each coin of an
account netted, and each leg of a contract, over strategies and venues of the group; `net` is the signed sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from domain.instrument import Contract, Kind
from domain.values import PLACES_MAX, ZERO, Mark, PositionSide, divide, exact, rounded, venue_of
from projections.analytics.closing import Closing, converted, settled
from projections.analytics.valuation import MarkColumns, Marks, mark_of, marked, notional, total
from projections.models.limits import LimitRow
from projections.models.positions import PositionRow
from projections.storage.tables import POSITION, AnyRow, PositionColumns, Row, contract_of

GROUPS = (*POSITION, "venue", "base")
COIN = "COIN"  # the kind of what is held of a coin beside its spot positions
_COINS = (Kind.SPOT.value, COIN)


class ExposureRow(PositionColumns, MarkColumns):
    """The size of a position or coin at the mark of `priced_by`: `quantity` in base units or contracts, `notional` in
    `quote`, both signed.
    """

    kind: str | None
    base: str | None
    quote: str | None
    quantity: Decimal
    seq: int
    venue: str
    priced_by: str
    notional: Decimal | None


class ExposureTotal(TypedDict):
    """Gross and net notional in one quote currency, with the columns they are summed by; None if a part is unknown."""

    account_id: NotRequired[str]
    strategy_id: NotRequired[str]
    instrument_id: NotRequired[str]
    position_side: NotRequired[str]
    venue: NotRequired[str]
    base: NotRequired[str]
    quote: str
    gross: Decimal | None
    net: Decimal | None
    missing_marks: list[str]
    stale_marks: list[str]


class CashRow(TypedDict):
    """Cash of an account that no position moved, in units of `asset`, at its venue ("" without a single one)."""

    account_id: str
    venue: str
    asset: str
    quantity: Decimal
    seq: int


class CoinRow(CashRow):
    """What of a coin was moved other than as the quantity of a spot position; by a strategy, or "" of cash."""

    strategy_id: str


class SizedRow(PositionColumns):
    """The size of a position in its own units and in `currency`: `quantity` in base units or contracts, `notional` in
    `quote`, `delta` in units of `asset`; `net`, `gross` and `delta_value` in `currency`. `lacking` names the missing
    mark or rate.
    """

    kind: str | None
    quantity: Decimal
    venue: str
    asset: str | None
    quote: str | None
    notional: Decimal | None
    delta: Decimal | None
    currency: str
    net: Decimal | None
    gross: Decimal | None
    delta_value: Decimal | None
    lacking: str | None
    seq: int


class ExposureCut(TypedDict):
    """Sums of `SizedRow` in one currency, with the columns they are summed by: `delta` only of one asset, `share` of
    all gross as a fraction.
    """

    account_id: NotRequired[str]
    strategy_id: NotRequired[str]
    venue: NotRequired[str]
    asset: NotRequired[str]
    instrument_id: NotRequired[str]
    position_side: NotRequired[str]
    gross: Decimal | None
    net: Decimal | None
    delta_value: Decimal | None
    delta: Decimal | None
    share: Decimal | None
    lacking: list[str]


class Concentration(TypedDict):
    """Concentration of gross exposure in assets: fractions, None if a size is unknown."""

    herfindahl: Decimal | None
    largest_share: Decimal | None
    largest_asset: str | None


class HeadroomRow(LimitRow):
    """A limit with the headroom left, in its units, and whether it `is_breached`: used by more than it allows.

    `is_exceeded` is a deprecated alias of `is_breached`.
    """

    subject: str
    headroom: Decimal | None
    is_breached: bool | None
    is_exceeded: bool | None


def coins(rows: Iterable[PositionRow], cash: Iterable[CashRow] = ()) -> list[CoinRow]:
    """Return what positions have paid and received beside their quantity, and cash, by strategy, venue and coin."""
    moved: dict[tuple[str, str, str, str], tuple[Decimal, int]] = {}

    def add(place: tuple[str, str, str, str], amount: Decimal, seq: int) -> None:
        known = moved.get(place, (ZERO, 0))
        moved[place] = (exact(known[0] + amount), max(known[1], seq))

    for row in rows:
        place = (row["account_id"], row["strategy_id"], venue_of(row["instrument_id"]))
        for asset, amount in _paid(row).items():
            add((*place, asset), amount, row["seq"])
    for each in cash:
        add((each["account_id"], "", each["venue"], each["asset"]), each["quantity"], each["seq"])
    return [
        {"account_id": account, "strategy_id": strategy, "venue": venue, "asset": asset, "quantity": held, "seq": seq}
        for (account, strategy, venue, asset), (held, seq) in sorted(moved.items())
        if held
    ]


def _paid(row: PositionRow) -> dict[str, Decimal]:
    """Return what a position has received less what it has paid, by currency, without the quantity of spot."""
    if row["settle"] is None:
        return {}
    in_base = row["base"] if row["kind"] == Kind.SPOT else None
    paid = {currency: exact(-fee) for currency, fee in row["fees"].items() if currency not in (in_base, row["settle"])}
    sums: AnyRow = row
    paid[row["settle"]] = settled({**sums, "fees_settle": row["fees"].get(row["settle"], ZERO)})
    return paid


class Pricing(NamedTuple):
    """How coins are priced: marks, spot pairs beside those traded in, and the accounts' base currencies."""

    marks: Marks
    pairs: Mapping[str, Contract] = MappingProxyType({})
    bases: Mapping[str, str] = MappingProxyType({})


def exposure(rows: Sequence[PositionRow], cash: Sequence[CashRow], pricing: Pricing) -> list[ExposureRow]:
    """Return the size at the marks of every open position, and of every coin that is priced: see `counted`."""
    return counted(rows, cash, pricing)[0]


def counted(
    rows: Sequence[PositionRow], cash: Sequence[CashRow], pricing: Pricing
) -> tuple[list[ExposureRow], list[CoinRow]]:
    """Return the size at the marks of every open position and every coin that is priced, and all other coins.

    The others are no exposure: the accounts' base currencies, and coins without a price. `rows` are of all positions
    selected, those that are flat included.
    """
    own = _own(rows)
    items, others = [], []
    for row in rows:
        if row["quantity"] and row["kind"] == Kind.SPOT:
            pair = _pair(row["account_id"], row["base"] or "", own, pricing, venue=venue_of(row["instrument_id"]))
            items.append(_priced(row, pair or row["instrument_id"], own, pricing))
        elif row["quantity"]:
            items.append(sized(row, mark_of(row, pricing.marks)))
    for coin in coins(rows, cash):
        priced_by = _price_of(coin, own, pricing)
        if priced_by is not None:
            items.append(_priced(_as_position(coin), priced_by, own, pricing))
        else:
            others.append(coin)
    return sorted(items, key=lambda item: tuple(cast(Row, item)[name] for name in POSITION)), others


def uncounted(rows: Sequence[PositionRow], cash: Sequence[CashRow], pricing: Pricing) -> list[CoinRow]:
    """Return the coins that no exposure counts: the accounts' base currencies, and those without a price."""
    return counted(rows, cash, pricing)[1]


_Own = dict[str, dict[str, Contract]]


def _own(rows: Iterable[PositionRow]) -> _Own:
    """Return the spot pairs that each account has positions in."""
    found: _Own = {}
    for row in rows:
        contract = contract_of(row) if row["kind"] == Kind.SPOT else None
        if contract is not None:
            found.setdefault(row["account_id"], {})[row["instrument_id"]] = contract
    return found


def _price_of(coin: CoinRow, own: _Own, pricing: Pricing) -> str | None:
    """Return the pair that prices a coin; None of cash: what pairs are only quoted in, and what has no price."""
    account_id, asset = coin["account_id"], coin["asset"]
    traded = own.get(account_id, {}).values()
    if asset == pricing.bases.get(account_id):
        return None
    is_money = any(pair.quote == asset for pair in traded) and not any(pair.base == asset for pair in traded)
    return None if is_money else _pair(account_id, asset, own, pricing, venue=coin["venue"])


def _pair(account_id: str, asset: str, own: _Own, pricing: Pricing, *, venue: str) -> str | None:
    """Return the pair that a coin is priced by: traded in, with a mark, quoted in base currency, at its venue."""
    base = pricing.bases.get(account_id)
    traded = [name for name, pair in own.get(account_id, {}).items() if pair.base == asset]
    listed = [name for name, pair in pricing.pairs.items() if pair.base == asset and name in pricing.marks]
    contracts = {**pricing.pairs, **own.get(account_id, {})}

    def rank(name: str) -> tuple[bool, bool, bool, str]:
        return (name not in pricing.marks, contracts[name].quote != base, venue_of(name) != venue, name)

    return min(traded or listed, key=rank, default=None)


def _as_position(coin: CoinRow) -> Row:
    none = dict.fromkeys(("settle", "contract_size"))
    place = {"strategy_id": coin["strategy_id"], "instrument_id": "", "position_side": PositionSide.BOTH.value}
    return {
        "account_id": coin["account_id"], **place, "kind": COIN, "base": coin["asset"], **none, "seq": coin["seq"],
        "quantity": coin["quantity"], "venue": coin["venue"],
    }  # fmt: skip


def _priced(row: AnyRow, pair: str, own: _Own, pricing: Pricing) -> ExposureRow:
    """Return the size of what is held of a coin at the mark of a pair."""
    mark = pricing.marks.get(pair)
    contract = own.get(row["account_id"], {}).get(pair) or pricing.pairs[pair]
    return {
        "account_id": row["account_id"],
        "strategy_id": row["strategy_id"],
        "instrument_id": row["instrument_id"],
        "position_side": row["position_side"],
        "kind": row["kind"],
        "base": row["base"],
        "quote": contract.quote,
        "quantity": row["quantity"],
        "seq": row["seq"],
        "venue": row.get("venue") or venue_of(row["instrument_id"] or pair),
        "priced_by": pair,
        **marked(mark),
        "notional": None if mark is None else exact(row["quantity"] * mark.price),
    }


def sized(row: PositionRow, mark: Mark | None) -> ExposureRow:
    """Return the exposure row of a position at a mark of its instrument; `notional` is None without one."""
    return {
        "account_id": row["account_id"],
        "strategy_id": row["strategy_id"],
        "instrument_id": row["instrument_id"],
        "position_side": row["position_side"],
        "kind": row["kind"],
        "base": row["base"],
        "quote": _notional_currency(row),
        "quantity": row["quantity"],
        "seq": row["seq"],
        "venue": venue_of(row["instrument_id"]),
        "priced_by": row["instrument_id"],
        **marked(mark),
        "notional": notional(row, mark),
    }


def _notional_currency(row: AnyRow) -> str | None:
    contract = contract_of(row)
    return row["quote"] if contract is None else contract.notional_currency


def totals(rows: Sequence[ExposureRow], by: Sequence[str]) -> list[ExposureTotal]:
    """Sum `exposure` rows to `gross` and `net` for each of `by` (some of GROUPS) and quote currency."""
    groups: dict[tuple[str, ...], list[AnyRow]] = {}
    found: Sequence[AnyRow] = rows
    names = (*by, "quote")
    for row in found:
        groups.setdefault(tuple(row[name] or "" for name in names), []).append(row)
    sums = [
        dict(zip(names, place, strict=True)) | _netted(members, "base", "notional") | _unmarked(members)
        for place, members in sorted(groups.items())
    ]
    return cast(list[ExposureTotal], sums)


def _unmarked(rows: Sequence[AnyRow]) -> Row:
    """Return the marks that a sum lacks, and those that are stale; what has left needs none."""
    is_known = _netted(rows, "base", "notional")["gross"] is not None
    missing = set() if is_known else {row["priced_by"] for row in rows if row["mark"] is None}
    stale = {row["priced_by"] for row in rows if row["is_mark_stale"]}
    return {"missing_marks": sorted(missing), "stale_marks": sorted(stale)}


def _netted(rows: Sequence[AnyRow], asset: str, size: str) -> Row:
    """Return gross and net of rows: each coin of an account, and each leg of its contracts, is netted before."""
    held: dict[tuple[str, ...], list[AnyRow]] = {}
    for row in rows:
        is_coin = row["kind"] in _COINS
        held.setdefault((row["account_id"], row[asset] if is_coin else "", *_leg_of(row, is_coin=is_coin)), []).append(
            row
        )
    nets = [_net(members, size, is_coin=bool(place[1])) for place, members in held.items()]
    return {"gross": total([None if net is None else abs(net) for net in nets]), "net": total(nets)}


def _leg_of(row: AnyRow, *, is_coin: bool) -> tuple[str, str]:
    return ("", "") if is_coin else (row["instrument_id"], row["position_side"])


def _net(rows: Sequence[AnyRow], size: str, *, is_coin: bool) -> Decimal | None:
    """Return the signed size of what is held of one coin or leg; what is held and owed alike needs no price."""
    found = total([row[size] for row in rows])
    if found is None and is_coin and not sum((row["quantity"] for row in rows), ZERO):
        return ZERO
    return found


CUTS = ("account_id", "strategy_id", "venue", "asset", "instrument_id", "position_side")
SUMS = ("gross", "net", "delta_value")


def holdings(
    rows: Sequence[PositionRow], cash: Sequence[CashRow], close: Closing, currency: str, bases: Mapping[str, str]
) -> list[SizedRow]:
    """Return the size of every open position and of every coin that is no cash, in their own units and in `currency`.

    `bases` are the accounts' base currencies.
    """
    sizes = [sized_in(row, close, currency) for row in rows if row["quantity"] and not _is_cash(row, close, bases)]
    for coin in coins(rows, cash):
        money = (currency, bases.get(coin["account_id"], currency))
        if not any(close.rates.is_equal(coin["asset"], each) for each in money):
            sizes.append(_coin_in(coin, close, currency))
    return sizes


def _is_cash(row: PositionRow, close: Closing, bases: Mapping[str, str]) -> bool:
    """Whether a spot position holds the account's own base currency."""
    base = bases.get(row["account_id"])
    return row["kind"] == Kind.SPOT and base is not None and close.rates.is_equal(row["base"] or "", base)


def _coin_in(coin: CoinRow, close: Closing, currency: str) -> SizedRow:
    worth = converted(coin["quantity"], coin["asset"], currency, close)
    return {
        "account_id": coin["account_id"],
        "strategy_id": coin["strategy_id"],
        "instrument_id": "",
        "position_side": PositionSide.BOTH.value,
        "kind": COIN,
        "quantity": coin["quantity"],
        "venue": coin["venue"],
        "asset": coin["asset"],
        "quote": None,
        "notional": None,
        "delta": coin["quantity"],
        "currency": currency,
        "net": worth,
        "gross": None if worth is None else abs(worth),
        "delta_value": worth,
        "lacking": f"{coin['asset']} to {currency}" if worth is None else None,
        "seq": coin["seq"],
    }


def sized_in(row: PositionRow, close: Closing, currency: str) -> SizedRow:
    """Return an open position's size in its own currencies and in `currency`; of spot at the price of its coin."""
    size = notional(row, mark_of(row, close.marks))
    quote = _notional_currency(row)
    if row["kind"] == Kind.SPOT:
        in_currency = converted(row["quantity"], row["base"], currency, close)
    else:
        in_currency = converted(size, quote, currency, close)
    delta = delta_of(row, close)
    lacking = None
    if in_currency is None:
        lacking = row["instrument_id"] if size is None else f"{quote} to {currency}"
    return {
        "account_id": row["account_id"],
        "strategy_id": row["strategy_id"],
        "instrument_id": row["instrument_id"],
        "position_side": row["position_side"],
        "kind": row["kind"],
        "quantity": row["quantity"],
        "venue": venue_of(row["instrument_id"]),
        "asset": row["base"],
        "quote": quote,
        "notional": size,
        "delta": delta,
        "currency": currency,
        "net": in_currency,
        "gross": None if in_currency is None else abs(in_currency),
        "delta_value": None if delta is None else in_currency,
        "lacking": lacking,
        "seq": row["seq"],
    }


def delta_of(row: AnyRow, close: Closing) -> Decimal | None:
    """Return the delta in units of the base asset, signed; None of options, quantos, and inverse without a mark."""
    contract, mark = contract_of(row), mark_of(row, close.marks)
    if contract is None or contract.kind is Kind.OPTION or contract.is_quanto:
        return None
    units = exact(row["quantity"] * contract.contract_size)
    if contract.kind is not Kind.INVERSE:
        return units
    return None if mark is None else divide(units, mark.price)


def cut(rows: Iterable[SizedRow], by: Sequence[str]) -> list[ExposureCut]:
    """Sum `holdings` for each of `by` (some of CUTS), sorted by those; `share` is the fraction of all gross."""
    groups: dict[tuple[Any, ...], list[AnyRow]] = {}
    found: list[AnyRow] = list(rows)
    for row in found:
        groups.setdefault(tuple(row[name] or "" for name in by), []).append(row)
    whole = _netted(found, "asset", "net")["gross"]
    cuts = [
        dict(zip(by, place, strict=True)) | _summed(members, whole, has_one_asset="asset" in by)
        for place, members in sorted(groups.items())
    ]
    return cast(list[ExposureCut], cuts)


def _summed(members: Sequence[AnyRow], whole: Decimal | None, *, has_one_asset: bool) -> Row:
    sums = _netted(members, "asset", "net")
    gross = sums["gross"]
    deltas = _netted(members, "asset", "delta_value")
    return {
        "gross": gross,
        "net": sums["net"],
        "delta_value": deltas["net"],
        "delta": total([row["delta"] for row in members]) if has_one_asset else None,
        "share": divide(gross, whole) if gross is not None and whole else None,
        "lacking": sorted({row["lacking"] for row in members if row["lacking"]}) if gross is None else [],
    }


def concentration(rows: Iterable[SizedRow]) -> Concentration:
    """Return the concentration of gross exposure in assets: `herfindahl`, the largest share and its asset."""
    parts = cut(rows, ("asset",))
    shares = {part["asset"]: share for part in parts if (share := part["share"]) is not None}
    if not shares or len(shares) < len(parts):
        return {"herfindahl": None, "largest_share": None, "largest_asset": None}
    largest = max(shares, key=lambda asset: shares[asset])  # of equals the first by name
    return {
        "herfindahl": rounded(sum((share * share for share in shares.values()), ZERO), PLACES_MAX),
        "largest_share": shares[largest],
        "largest_asset": largest,
    }


def leverage(gross: Decimal | None, equity: Decimal | None) -> Decimal | None:
    """Return gross / equity to 18 places; None without an equity above zero."""
    return divide(gross, equity) if gross is not None and equity is not None and equity > 0 else None


def with_headroom(limit: AnyRow) -> HeadroomRow:
    """Return a row of `limits.utilisation` with `headroom` and `is_breached`; None where usage is not known.

    `subject` is the instrument, asset or currency measured, or "" for all of the limit's scope. A row of buying power
    has its headroom: its limit is no bound of what is used.
    """
    used, headroom = limit["used"], limit.get("headroom")
    if headroom is None and used is not None:
        headroom = exact(limit["limit"] - used)
    row = {"subject": limit["instrument_id"] or ""} | dict(limit)
    is_breached = None if headroom is None else headroom < 0
    row |= {"headroom": headroom, "is_breached": is_breached, "is_exceeded": is_breached}
    return cast(HeadroomRow, row)
