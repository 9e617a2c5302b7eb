"""A simulated venue, code SIM: seeded and deterministic, with no clock but the one it is given.

One underlying drives three instruments: spot, a linear and an inverse perpetual. Prices are a random walk in whole
ticks by integer arithmetic alone, so a seed gives the same day on every machine. Prices are in quote units per base
unit; quantities are base units (spot, linear) or contracts of 100 USD (inverse). Fees: spot buys pay in base, spot
sells and the linear in quote, the inverse in its settlement currency, with a rebate for makers. Funding is settled
every eight hours.

Trading depends on the seed and on the orders; `Faults` only change how it is reported, as by real venues: twice, late
and out of sequence, or a fill after the cancel it preceded. In all cases the positions must end the same.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from math import isqrt
from random import Random
from typing import NamedTuple

from msgspec import Struct

from adapters.exchanges import Unreadable
from domain.instrument import Contract, Kind, ListInstrument
from domain.ledger import Report
from domain.order import (
    CancelOrder,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderKey,
    OrderRejected,
    OrderTerms,
    OrdType,
    SubmitOrder,
    TimeInForce,
)
from domain.position import PositionKey, SettleFunding
from domain.values import EPOCH, ZERO, Liquidity, Mark, Money, Side, divide, exact, rounded

VENUE = "SIM"
SPOT = f"BTCUSDT.{VENUE}"
LINEAR = f"BTCUSDT-PERP.{VENUE}"
INVERSE = f"BTCUSD-PERP.{VENUE}"

MOVES = 6  # of the price per step
MONEY_PLACES = 8
FUNDING_INTERVAL = timedelta(hours=8)
FUNDING_RATE_PPM = 100  # at no basis; one basis point
FUNDING_RATE_PPM_MAX = 750
REJECTED_PER_MILLE = 6
VOLATILITY = {0: 15, 1: 13, 7: 12, 8: 14, 9: 12, 13: 16, 14: 20, 15: 17, 16: 13}  # by hour of day; ten on average
NOISE_PER_MILLE = 80  # resting orders filled by a move of the price that comes near but does not reach them
NOISE_REACH_PPM = 1_000
RACED_PER_MILLE = 60  # cancels overtaken by a fill


class Market(NamedTuple):
    """An instrument and its trading terms: spread in ticks, fee rates in hundredths of a basis point."""

    listing: ListInstrument
    half_spread_ticks: int
    basis_ppm: int
    maker_fee_ppm: int
    taker_fee_ppm: int


MARKETS = (
    Market(
        ListInstrument(SPOT, Contract(Kind.SPOT, "BTC", "USDT", "USDT"), Decimal("0.01"), Decimal("0.0001")),
        half_spread_ticks=50,
        basis_ppm=0,
        maker_fee_ppm=200,
        taker_fee_ppm=500,
    ),
    Market(
        ListInstrument(LINEAR, Contract(Kind.LINEAR, "BTC", "USDT", "USDT"), Decimal("0.1"), Decimal("0.001")),
        half_spread_ticks=5,
        basis_ppm=150,
        maker_fee_ppm=100,
        taker_fee_ppm=400,
    ),
    Market(
        ListInstrument(
            INVERSE, Contract(Kind.INVERSE, "BTC", "USD", "BTC", contract_size=Decimal(100)), Decimal("0.5"), Decimal(1)
        ),
        half_spread_ticks=2,
        basis_ppm=250,
        maker_fee_ppm=-50,
        taker_fee_ppm=500,
    ),
)  # fmt: skip


class Faults(NamedTuple):
    """Reporting faults, per mille of reports (the last: of cancels that a fill overtook)."""

    duplicate_per_mille: int = 0
    late_per_mille: int = 0
    late_steps_max: int = 5
    fill_after_cancel_per_mille: int = 0


FAULTLESS = Faults()


class Tick(NamedTuple):
    """The venue after a step: the time, a mark for each instrument, the reports in sequence of arrival."""

    now: datetime
    marks: tuple[Mark, ...]
    reports: tuple[Report, ...]


class Walk:
    """The price of the underlying, in 10^-8 quote units: geometric steps with volatility by hour of day."""

    def __init__(self, seed: int, price: Decimal) -> None:
        self._random = Random(f"{seed}:walk")  # noqa: S311 (a simulation has to be repeatable)
        self._price = int(price * 10**8)
        self._drift_ppb = 0

    def move(self, at: datetime, seconds: int) -> None:
        """Move the price by a step of `seconds`. Volatility is about 30 % a year, higher when big markets open."""
        volatility = VOLATILITY.get(at.hour, 9)
        deviation_ppb = 54_000 * volatility * isqrt(seconds * 10_000) // 1_000
        self._drift_ppb = self._drift_ppb * 98 // 100 + deviation_ppb * self._normal() // 20_000
        change_ppb = deviation_ppb * self._normal() // 1_000 + self._drift_ppb
        self._price += self._price * change_ppb // 10**9

    def price_in_ticks(self, tick_size: Decimal, basis_ppm: int) -> int:
        """Return the price plus a basis, in whole ticks."""
        return max(1, self._price * (10**6 + basis_ppm) // (10**6 * int(tick_size * 10**8)))

    def _normal(self) -> int:
        """Draw an about normal deviate, in thousandths of a standard deviation: the sum of twelve uniform draws."""
        return sum(self._random.randrange(-500, 501) for _ in range(12))


class Working(Struct):
    """An open order at the venue."""

    key: OrderKey
    terms: OrderTerms
    order_id: str
    leaves_qty: Decimal


class SimulatedVenue:
    """An Exchange that accepts orders and cancels, and reports on them in `advance`."""

    venue = VENUE

    def __init__(
        self, seed: int, start: datetime, faults: Faults = FAULTLESS, *, price: Decimal = Decimal(60_000)
    ) -> None:
        self.now = start
        self._faults = faults
        self._markets = {market.listing.instrument_id: market for market in MARKETS}
        self._walk = Walk(seed, price)
        self._matching = Random(f"{seed}:matching")  # noqa: S311
        self._reporting = Random(f"{seed}:reporting")  # noqa: S311
        self._funding = Random(f"{seed}:funding")  # noqa: S311
        self._requests: list[SubmitOrder | CancelOrder] = []
        self._known: set[OrderKey] = set()
        self._working: dict[OrderKey, Working] = {}
        self._positions: dict[PositionKey, Decimal] = {}
        self._outbox: list[tuple[int, int, Report]] = []
        self._reported = self._trades = self._steps = 0
        self._moment = start
        self._mid_ticks = self._mids()

    @property
    def is_quiet(self) -> bool:
        """Whether no request, open order or report is pending."""
        return not (self._requests or self._working or self._outbox)

    def instruments(self) -> Sequence[ListInstrument]:
        """Return the instruments of the venue."""
        return [market.listing for market in MARKETS]

    def marks(self) -> tuple[Mark, ...]:
        """Return the current price of each instrument."""
        return tuple(Mark(name, self._price(name, ticks), VENUE, self.now) for name, ticks in self._mid_ticks.items())

    def submit(self, request: SubmitOrder) -> None:
        """Send an order, which arrives with the next step. One with a known cl_ord_id is ignored."""
        self._requests.append(request)

    def cancel(self, request: CancelOrder) -> None:
        """Send a cancel, which arrives with the next step."""
        self._requests.append(request)

    def advance(self, step: timedelta) -> Tick:
        """Advance the time: requests arrive, the price moves, resting orders trade, funding falls due."""
        self._steps += 1
        requests, self._requests = self._requests, []
        for request in requests:
            self._arrive(request)
        start, seconds = self.now, max(1, int(step.total_seconds()) // MOVES)
        for move in range(1, MOVES + 1):
            before, self.now = self.now, start + step * move / MOVES
            self._walk.move(self.now, seconds)
            self._mid_ticks = self._mids()
            for working in list(self._working.values()):
                self._trade_through(working)
            due = EPOCH + ((before - EPOCH) // FUNDING_INTERVAL + 1) * FUNDING_INTERVAL
            while due <= self.now:
                self._settle_funding(due)
                due += FUNDING_INTERVAL
        return Tick(self.now, self.marks(), tuple(self._drain()))

    def reports(self) -> Iterator[Report | Unreadable]:
        """Yield the reports that are due; `advance` returns them as well."""
        return self._drain()

    def _drain(self) -> Iterator[Report]:
        while self._outbox and self._outbox[0][0] <= self._steps:
            yield heappop(self._outbox)[2]

    # Orders

    def _arrive(self, request: SubmitOrder | CancelOrder) -> None:
        if isinstance(request, CancelOrder):
            self._arrive_cancel(request)
        elif request.key not in self._known:
            self._known.add(request.key)
            self._arrive_order(request)

    def _arrive_order(self, request: SubmitOrder) -> None:
        terms = request.terms
        if self._matching.randrange(1000) < REJECTED_PER_MILLE:
            self._report(OrderRejected(request.key, "the venue is overloaded", self._next_moment()))
            return
        working = Working(request.key, terms, f"S{len(self._known)}", terms.order_qty)
        self._report(OrderAccepted(request.key, working.order_id, self._next_moment()))
        self._working[request.key] = working
        self._match(working)
        if working.leaves_qty and (terms.ord_type is OrdType.MARKET or terms.time_in_force is not TimeInForce.GTC):
            del self._working[request.key]
            self._report(OrderExpired(request.key, "nothing more to trade with at once", self._next_moment()))

    def _match(self, working: Working) -> None:
        """Trade against resting orders of the other side: up to three levels, each worse than the last."""
        terms, market = working.terms, self._markets[working.terms.instrument_id]
        levels = self._matching.randrange(1, 4)
        touch = self._mid_ticks[terms.instrument_id] + terms.side.sign * market.half_spread_ticks
        prices = [
            self._price(terms.instrument_id, max(1, touch + terms.side.sign * level * market.half_spread_ticks))
            for level in range(levels)
        ]
        reachable = [price for price in prices if terms.price is None or terms.side.sign * (terms.price - price) >= 0]
        if terms.time_in_force is TimeInForce.FOK and len(reachable) < levels:
            return
        for level, price in enumerate(reachable, 1):
            if working.leaves_qty:
                quantity = working.leaves_qty if level == levels else self._part(working)
                self._report(self._filled(working, quantity, price, Liquidity.TAKER))

    def _trade_through(self, working: Working) -> None:
        """Fill a resting order when the market reaches it, and now and then when it only comes near."""
        terms, market = working.terms, self._markets[working.terms.instrument_id]
        assert terms.price is not None, "only limit orders rest"
        touch = self._mid_ticks[terms.instrument_id] + terms.side.sign * market.half_spread_ticks
        distance = terms.side.sign * (self._price(terms.instrument_id, max(1, touch)) - terms.price)
        is_hit = self._matching.randrange(1000) < NOISE_PER_MILLE and distance * 10**6 < NOISE_REACH_PPM * terms.price
        if distance <= 0 or is_hit:
            self._report(self._filled(working, self._part(working), terms.price, Liquidity.MAKER))

    def _arrive_cancel(self, request: CancelOrder) -> None:
        """Cancel an order; a fill may overtake the cancel, and with faults is then reported after it."""
        working = self._working.get(request.key)
        if working is None:
            self._report(OrderCancelRejected(request.key, "no such order is open", self._next_moment()))
            return
        reports: list[Report] = []
        if self._matching.randrange(1000) < RACED_PER_MILLE:
            assert working.terms.price is not None, "only limit orders rest"
            reports.append(self._filled(working, self._part(working), working.terms.price, Liquidity.MAKER))
        if working.leaves_qty:
            del self._working[request.key]
            reports.append(OrderCanceled(request.key, request.reason, self._next_moment()))
        else:
            reports.append(OrderCancelRejected(request.key, "the order was filled", self._next_moment()))
        if self._is_struck(self._faults.fill_after_cancel_per_mille):
            reports.reverse()
        for report in reports:
            self._report(report)

    def _filled(self, working: Working, quantity: Decimal, price: Decimal, liquidity: Liquidity) -> OrderFilled:
        terms = working.terms
        self._trades += 1
        working.leaves_qty = exact(working.leaves_qty - quantity)
        if not working.leaves_qty:
            del self._working[working.key]
        held = PositionKey(working.key.account_id, terms.strategy_id, terms.instrument_id)
        self._positions[held] = self._positions.get(held, ZERO) + terms.side.sign * quantity
        return OrderFilled(
            key=working.key,
            strategy_id=terms.strategy_id,
            instrument_id=terms.instrument_id,
            order_id=working.order_id,
            side=terms.side,
            exec_id=f"T{self._trades}",
            trade_seq=self._trades,
            last_qty=quantity,
            last_px=price,
            commission=self._commission(terms, quantity, price, liquidity),
            liquidity=liquidity,
            transact_time=self._next_moment(),
        )

    def _commission(self, terms: OrderTerms, quantity: Decimal, price: Decimal, liquidity: Liquidity) -> Money:
        market = self._markets[terms.instrument_id]
        contract = market.listing.contract
        rate = Decimal(market.maker_fee_ppm if liquidity is Liquidity.MAKER else market.taker_fee_ppm).scaleb(-6)
        if contract.kind is Kind.SPOT and terms.side is Side.BUY:
            return Money(rounded(quantity * rate, MONEY_PLACES), contract.base)
        return Money(rounded(abs(contract.value(quantity, price)) * rate, MONEY_PLACES), contract.settle)

    def _part(self, working: Working) -> Decimal:
        """Draw a part of the leaves quantity, in whole lots: a third of it or more."""
        lot_size = self._markets[working.terms.instrument_id].listing.lot_size
        lots = int(divide(working.leaves_qty, lot_size, 0))
        return exact(self._matching.randrange(max(1, lots // 3), lots + 1) * lot_size)

    # Prices and funding

    def _mids(self) -> dict[str, int]:
        return {
            name: self._walk.price_in_ticks(market.listing.tick_size, market.basis_ppm)
            for name, market in self._markets.items()
        }

    def _price(self, instrument_id: str, ticks: int) -> Decimal:
        return exact(ticks * self._markets[instrument_id].listing.tick_size)

    def _settle_funding(self, due: datetime) -> None:
        """Settle funding: longs pay shorts the rate on their value at the mark; a negative rate reverses it."""
        for name, market in self._markets.items():
            contract = market.listing.contract
            if contract.kind is Kind.SPOT:
                continue
            swing = self._funding.randrange(-FUNDING_RATE_PPM_MAX, FUNDING_RATE_PPM_MAX + 1) // 3
            rate = Decimal(FUNDING_RATE_PPM + swing).scaleb(-6)
            for key, quantity in self._positions.items():
                if key.instrument_id == name and quantity:
                    worth = abs(contract.value(quantity, self._price(name, self._mid_ticks[name])))
                    paid = rounded(worth.copy_sign(quantity) * rate, MONEY_PLACES)
                    funding_id = f"{name}-{due:%Y%m%dT%H%MZ}"
                    self._report(SettleFunding(key, funding_id, Money(exact(-paid), contract.settle), due))

    # Reports

    def _next_moment(self) -> datetime:
        """Return the current time, but at least a microsecond after the last report's."""
        self._moment = max(self._moment + timedelta(microseconds=1), self.now)
        return self._moment

    def _is_struck(self, per_mille: int) -> bool:
        return per_mille > 0 and self._reporting.randrange(1000) < per_mille

    def _report(self, report: Report) -> None:
        faults = self._faults
        late = self._reporting.randint(1, faults.late_steps_max) if self._is_struck(faults.late_per_mille) else 0
        self._reported += 1
        heappush(self._outbox, (self._steps + late, self._reported, report))
        if self._is_struck(faults.duplicate_per_mille):
            self._reported += 1
            again = self._reporting.randint(0, faults.late_steps_max)
            heappush(self._outbox, (self._steps + late + again, self._reported, report))
