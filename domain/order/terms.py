"""Order terms: their fields, and the rules that need nothing but the terms.

Names follow FIX: OrdType(40), TimeInForce(59), Price(44), StopPx(99), PegOffsetValue(211), ExecInst(18),
DisplayQty(1138), ExpireTime(126). Quantities are in base units (spot) or contracts, prices in quote units a base unit,
times in UTC. Rules that need the instrument (tick, lot), the position (reduce-only) or the account's limits are checked
elsewhere.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from domain import values
from domain.errors import InvalidInput, RequestRefused
from domain.values import MAGNITUDE_MAX, PLACES_MAX, PositionSide, Side, leg_of

BASIS_POINTS_MAX = 10_000


class OrdType(StrEnum):
    """FIX OrdType(40). A stop triggers when the market moves against it, a take-profit when it moves in favour."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"
    TRAILING_STOP = "TRAILING_STOP"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"

    @property
    def has_price(self) -> bool:
        """Whether it is limited by Price(44)."""
        return self in _WITH_PRICE

    @property
    def has_stop_px(self) -> bool:
        """Whether it waits for StopPx(99). A trailing stop may name one, as its first trigger."""
        return self in _WITH_STOP_PX


_WITH_PRICE = {OrdType.LIMIT, OrdType.STOP_LIMIT, OrdType.TAKE_PROFIT_LIMIT}
_WITH_STOP_PX = {OrdType.STOP, OrdType.STOP_LIMIT, OrdType.TAKE_PROFIT, OrdType.TAKE_PROFIT_LIMIT}


class TimeInForce(StrEnum):
    """FIX TimeInForce(59)."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"
    DAY = "DAY"

    @property
    def is_immediate(self) -> bool:
        """Whether it never rests in the order book."""
        return self in _IMMEDIATE

    @property
    def outlives_day(self) -> bool:
        """Whether an order that is done for the day works on the next."""
        return self in _OUTLIVING


_IMMEDIATE = {TimeInForce.IOC, TimeInForce.FOK}
_OUTLIVING = {TimeInForce.GTC, TimeInForce.GTD}


class ExecInst(StrEnum):
    """FIX ExecInst(18): POST_ONLY is `6`, participate, do not initiate; REDUCE_ONLY is `E`, do not increase."""

    POST_ONLY = "POST_ONLY"
    REDUCE_ONLY = "REDUCE_ONLY"


class PegOffset(StrEnum):
    """FIX PegOffsetType(836): the unit of a trailing stop's distance, quote units or basis points of the market."""

    PRICE = "PRICE"
    BASIS_POINTS = "BASIS_POINTS"


class TriggerPrice(StrEnum):
    """FIX TriggerPriceType(1107): the price that triggers a stop or take-profit."""

    LAST = "LAST"
    MARK = "MARK"
    INDEX = "INDEX"


class OrderKey(Struct, frozen=True, gc=False):
    """The key of an order: ClOrdID(11) is ours and unique in its account. A replaced order keeps its first one."""

    account_id: str
    cl_ord_id: str


class OrderTerms(Struct, frozen=True, gc=False):
    """The requested terms of an order; carried by every event of the order that a projector needs them for."""

    strategy_id: str
    instrument_id: str
    side: Side  # 54
    ord_type: OrdType  # 40
    order_qty: Decimal  # 38
    price: Decimal | None = None  # 44
    time_in_force: TimeInForce = TimeInForce.GTC  # 59
    expire_time: datetime | None = None  # 126
    stop_px: Decimal | None = None  # 99
    trigger_price: TriggerPrice = TriggerPrice.LAST  # 1107
    peg_offset_value: Decimal | None = None  # 211, above zero
    peg_offset: PegOffset = PegOffset.PRICE  # 836
    exec_inst: frozenset[ExecInst] = frozenset()  # 18
    display_qty: Decimal | None = None  # 1138
    parent: str = ""  # ClOrdID of the parent order in the same account
    position_side: PositionSide | UnsetType = UNSET  # of hedge mode; not set: BOTH

    @property
    def leg(self) -> PositionSide:
        """The leg of the position that the order trades."""
        return leg_of(self.position_side)

    @property
    def is_immediate(self) -> bool:
        """Whether the order never rests."""
        return self.time_in_force.is_immediate or self.ord_type is OrdType.MARKET


class Changes(Struct, frozen=True, omit_defaults=True):
    """The changes of a replacement: a field that is not named stays, one named None is removed."""

    order_qty: Decimal | UnsetType = UNSET
    price: Decimal | UnsetType | None = UNSET
    stop_px: Decimal | UnsetType | None = UNSET
    peg_offset_value: Decimal | UnsetType | None = UNSET
    display_qty: Decimal | UnsetType | None = UNSET
    expire_time: datetime | UnsetType | None = UNSET

    def of(self, terms: OrderTerms) -> OrderTerms:
        """The terms with these changes."""
        named = {field: value for field, value in asdict(self).items() if value is not UNSET}
        return replace(terms, **named)


NUMBER = "a finite decimal number"


def check(terms: OrderTerms, transact_time: datetime | None = None) -> None:
    """Check terms by the rules that need nothing else. Raises RequestRefused naming field, value and rule."""
    check_terms_fields(terms)
    _check_prices(terms)
    _check_duration(terms, transact_time)
    _check_handling(terms)


def check_terms_fields(terms: OrderTerms) -> None:
    """Check that every field of terms is an id, number or time. Raises RequestRefused naming field, value and rule."""
    check_id("strategy_id", terms.strategy_id)
    if terms.parent:
        check_id("parent", terms.parent)
    try:
        values.instrument_id(terms.instrument_id)
    except InvalidInput as error:
        raise RequestRefused(f"instrument_id is {error.rule}", instrument_id=terms.instrument_id) from error
    for field in ("order_qty", "peg_offset_value", "display_qty"):
        check_amount(field, getattr(terms, field))
    for field in ("price", "stop_px"):
        check_number(field, getattr(terms, field))
    if terms.expire_time is not None:
        check_time("expire_time", terms.expire_time)


def check_amount(field: str, value: Decimal | None) -> None:
    """Check that a value is a number above zero within our range. Raises RequestRefused."""
    if value is None:
        return
    if not value.is_finite() or value <= 0:
        raise RequestRefused(f"{field} above zero", **{field: value})
    check_number(field, value)


def check_number(field: str, value: Decimal | None) -> None:
    """Check that a value is a number within our range; whether a price is above zero its instrument says.

    Raises RequestRefused.
    """
    if value is None:
        return
    if not value.is_finite():
        raise RequestRefused(f"{field} is {NUMBER}", **{field: value})
    if value.adjusted() >= MAGNITUDE_MAX or value.as_tuple().exponent < -PLACES_MAX:  # type: ignore[operator]
        raise RequestRefused(f"{field} below 1e{MAGNITUDE_MAX} with at most {PLACES_MAX} places", **{field: value})


def check_id(field: str, value: str) -> None:
    """Check that a value is an id. Raises RequestRefused."""
    try:
        is_normal = values.name(value, field) == value
    except InvalidInput as error:
        raise RequestRefused(f"{field} is {error.rule}", **{field: value}) from error
    if not is_normal:
        raise RequestRefused(f"{field} is an id in the normal form NFC of Unicode", **{field: value})


def check_time(field: str, value: datetime) -> None:
    """Check that a time has a zone and is not before 2009. Raises RequestRefused."""
    try:
        values.zoned(value, field)
    except InvalidInput as error:
        raise RequestRefused(f"{field} is {error.rule}", **{field: value}) from error


def _check_prices(terms: OrderTerms) -> None:
    ord_type = terms.ord_type
    kind = f"a {ord_type.lower().replace('_', '-')} order"
    if ord_type.has_price and terms.price is None:
        raise RequestRefused(f"{kind} has a price above zero", price=None, ord_type=ord_type)
    if not ord_type.has_price and terms.price is not None:
        raise RequestRefused(f"{kind} has no price", price=terms.price, ord_type=ord_type)
    if ord_type.has_stop_px and terms.stop_px is None:
        raise RequestRefused(f"{kind} has a stop_px above zero", stop_px=None, ord_type=ord_type)
    if not ord_type.has_stop_px and terms.stop_px is not None and ord_type is not OrdType.TRAILING_STOP:
        raise RequestRefused(f"{kind} has no stop_px", stop_px=terms.stop_px, ord_type=ord_type)
    offset = terms.peg_offset_value
    if (ord_type is OrdType.TRAILING_STOP) != (offset is not None):
        raise RequestRefused(
            "a trailing-stop order, and no other, has a peg_offset_value", peg_offset_value=offset, ord_type=ord_type
        )
    if offset is not None and terms.peg_offset is PegOffset.BASIS_POINTS and offset >= BASIS_POINTS_MAX:
        raise RequestRefused(f"peg_offset_value below {BASIS_POINTS_MAX} basis points", peg_offset_value=offset)


def _check_duration(terms: OrderTerms, transact_time: datetime | None) -> None:
    expire_time = terms.expire_time
    if (terms.time_in_force is TimeInForce.GTD) != (expire_time is not None):
        raise RequestRefused(
            "a GTD order, and no other, has an expire_time", expire_time=expire_time, time_in_force=terms.time_in_force
        )
    if expire_time is None:
        return
    if transact_time is not None and expire_time <= transact_time:
        raise RequestRefused("expire_time after transact_time", expire_time=expire_time, transact_time=transact_time)


def _check_handling(terms: OrderTerms) -> None:
    how = {"ord_type": terms.ord_type, "time_in_force": terms.time_in_force}
    rests = terms.ord_type.has_price and not terms.time_in_force.is_immediate
    if ExecInst.POST_ONLY in terms.exec_inst and not rests:
        raise RequestRefused("a post-only order has a price and may rest", exec_inst=ExecInst.POST_ONLY, **how)
    if terms.display_qty is None:
        return
    if not rests:
        raise RequestRefused(
            "an order with a display_qty has a price and may rest", display_qty=terms.display_qty, **how
        )
    if terms.display_qty > terms.order_qty:
        raise RequestRefused("display_qty at most order_qty", display_qty=terms.display_qty, order_qty=terms.order_qty)
