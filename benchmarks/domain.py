"""The domain alone, in memory: deciding, encoding, decoding, folding, and booking fills to position and PnL.

Peers, if installed: the eventsourcing library's own Aggregate with its JSONTranscoder on the same fill;
NautilusTrader's Position.apply; beancount's FIFO booking. Run as `python -m benchmarks.domain`.
"""

import importlib.util
import random
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from functools import reduce
from time import perf_counter
from typing import Any

from benchmarks.lines import line, seconds
from domain import order, position
from domain.account import CostBasis, Costing, FeePolicy
from domain.instrument import Contract, Kind
from domain.ledger import Recorded, schema
from domain.order import OrderFilled, OrderKey, OrderTerms, OrdType, SubmitOrder
from domain.position import Filled, PositionKey
from domain.values import ZERO, Liquidity, Money, Side

T0 = datetime(2026, 1, 2, tzinfo=UTC)
BTC = "BTCUSDT.SIM"
SPOT = Contract(Kind.SPOT, "BTC", "USDT", "USDT")
KEY = PositionKey("main", "trend", BTC)
FILLS_CHUNK = 500


def order_fills(count: int) -> list[OrderFilled]:
    """Return fills of one large order."""
    key = OrderKey("main", "A-1")
    return [
        OrderFilled(
            key=key,
            strategy_id="trend",
            instrument_id=BTC,
            order_id="V-9",
            side=Side.BUY,
            exec_id=f"E{n:07}",
            trade_seq=n,
            last_qty=D("0.5"),
            last_px=D("97500.25"),
            commission=Money(D("0.02"), "USDT"),
            liquidity=Liquidity.MAKER,
            transact_time=T0 + timedelta(milliseconds=n),
        )
        for n in range(count)
    ]


def position_fills(count: int, open_lots: int = 20) -> list[tuple[str, str, str]]:
    """Return (side, quantity, price): the same random walk for every engine, with a position that stays open.

    It grows to about `open_lots` buys and then buys and sells about equally.
    """
    draw = random.Random(7)
    held, rows = 0, []
    for _ in range(count):
        quantity = draw.randint(1, 500)
        side = "SELL" if held > open_lots * 250 and draw.random() < 0.6 else "BUY"
        held += quantity if side == "BUY" else -quantity
        rows.append((side, str(D(quantity).scaleb(-3)), str(D(draw.randint(3_000_000, 5_000_000)).scaleb(-2))))
    return rows


def codec() -> None:
    """Measure one fill: decide and encode, decode and fold; ours and the library's."""
    fills = order_fills(200)
    terms = OrderTerms("trend", BTC, Side.BUY, OrdType.LIMIT, order_qty=D(10_000), price=D(98_000))
    first = reduce(order.evolve, order.decide(None, SubmitOrder(fills[0].key, terms, T0)), None)
    stream = order.stream(fills[0].key)
    stored: list[tuple[str, bytes]] = []

    def decide_and_encode() -> None:
        stored.clear()
        for n, fill in enumerate(fills):
            for event in order.admit(first, fill):
                record = Recorded(stream, n, T0, "venue", request_id="r1", event=event)
                stored.append((schema.topic_of(event), schema.encode(record)))

    def decode_and_evolve() -> None:
        state = first
        for topic, state_bytes in stored:
            state = order.evolve(state, schema.decode(topic, state_bytes).event)

    ours_out, ours_in = seconds(decide_and_encode) / len(fills), seconds(decode_and_evolve) / len(fills)
    theirs_out, theirs_in = library_codec(fills)
    note = f"10-field fill, {len(stored[0][1])} bytes stored"
    line(
        "decide + encode one fill",
        ours_out * 1e6,
        "us",
        peer="eventsourcing Aggregate",
        peer_value=theirs_out * 1e6,
        note=note,
    )
    line(
        "decode + evolve one fill",
        ours_in * 1e6,
        "us",
        peer="eventsourcing Aggregate",
        peer_value=theirs_in * 1e6,
        note=note,
    )


def library_codec(fills: list[OrderFilled]) -> tuple[float, float]:
    """Measure the library's own Aggregate, Mapper and JSONTranscoder with Decimal and datetime."""
    from eventsourcing.domain import Aggregate, event

    class Order(Aggregate):
        def __init__(self, order_qty: D) -> None:
            self.order_qty = order_qty
            self.cum_qty = ZERO
            self.cum_cost = ZERO

        @event("Filled")
        def fill(
            self, account_id: str, instrument_id: str, side: str, exec_id: str, trade_seq: int, last_qty: D, last_px: D,
            commission: D, commission_currency: str, transact_time: datetime,
        ) -> None:  # fmt: skip
            self.cum_qty += last_qty
            self.cum_cost += last_qty * last_px

    globals()["Order"] = Order  # the library finds classes by their path
    Order.__qualname__ = "Order"
    mapper = _library_mapper()
    stored = []

    def decide_and_encode() -> None:
        stored.clear()
        aggregate = fresh()
        for fill in fills:
            aggregate.fill(
                account_id=fill.key.account_id,
                instrument_id=fill.instrument_id,
                side=fill.side.value,
                exec_id=fill.exec_id,
                trade_seq=fill.trade_seq,
                last_qty=fill.last_qty,
                last_px=fill.last_px,
                commission=fill.commission.amount,
                commission_currency=fill.commission.currency,
                transact_time=fill.transact_time,
            )
        stored.extend(mapper.to_stored_event(pending) for pending in aggregate.collect_events())

    created = Order(D(10_000)).collect_events()[0]

    def fresh() -> Any:
        return created.mutate(None)

    def decode_and_evolve() -> None:
        aggregate = fresh()
        for stored_event in stored:
            aggregate = mapper.to_domain_event(stored_event).mutate(aggregate)

    return seconds(decide_and_encode) / len(fills), seconds(decode_and_evolve) / len(fills)


def _library_mapper() -> Any:
    from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, Mapper, UUIDAsHex

    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)
    return Mapper(transcoder)


def booked_per_second(rows: list[tuple[str, str, str]], conventions: Costing) -> tuple[float, float]:
    """Return fills per second, booked into position and PnL, over all rows and over their last tenth."""
    state, spent, spent_before, tenth = None, 0.0, 0.0, len(rows) - len(rows) // 10
    for first in range(0, len(rows), FILLS_CHUNK):
        fills = [
            Filled(
                key=KEY,
                contract=SPOT,
                cl_ord_id="A-1",
                exec_id=f"E{n:08}",
                trade_seq=n,
                side=Side(side),
                last_qty=D(qty),
                last_px=D(px),
                commission=Money(D("0.02"), "USDT"),
                liquidity=Liquidity.TAKER,
                transact_time=T0 + timedelta(milliseconds=n),
            )
            for n, (side, qty, px) in enumerate(rows[first : first + FILLS_CHUNK], first)
        ]
        spent_before = spent if first < tenth else spent_before
        start = perf_counter()
        for fill in fills:
            for event in position.admit(state, [fill], conventions):
                state = position.evolve(state, event)
        spent += perf_counter() - start
    last = len(rows) - (tenth - 1) // FILLS_CHUNK * FILLS_CHUNK
    return len(rows) / spent, last / (spent - spent_before)


def positions() -> None:
    """Measure fills to position and PnL: against NautilusTrader at 5,000, beancount at 20,000, itself at 1,000,000."""
    rows = position_fills(5_000)
    ours = max(booked_per_second(rows, Costing())[1] for _ in range(3))
    theirs = nautilus_per_second(rows)
    line(
        "fills to position and PnL, the last tenth of 5,000", ours, "fills/s", peer=theirs[0], peer_value=theirs[1],
        note="average cost",
    )  # fmt: skip
    fifo = Costing(CostBasis.FIFO, FeePolicy.CAPITALISED, 18)
    for open_lots in (400, 20):
        rows = position_fills(20_000, open_lots)
        ours = max(booked_per_second(rows, fifo)[0] for _ in range(3))
        theirs = beancount_per_second(rows)
        line(
            "fills booked FIFO, 20,000", ours, "fills/s", peer=theirs[0], peer_value=theirs[1],
            note=f"about {open_lots} lots open",
        )  # fmt: skip
    rows = position_fills(1_000_000 if "--short" not in sys.argv else 50_000)
    for conventions in (Costing(), Costing(CostBasis.FIFO)):
        few = max(booked_per_second(rows[:10_000], conventions)[1] for _ in range(3))
        _, last = booked_per_second(rows, conventions)
        line(
            f"fills to position and PnL, the last tenth of {len(rows):,}, {conventions.cost_basis}", last, "fills/s",
            peer="ours at 10,000", peer_value=few, note="flat if the ratio is near 1",
        )  # fmt: skip


def nautilus_per_second(rows: list[tuple[str, str, str]]) -> tuple[str | None, float | None]:
    """Measure NautilusTrader's Position.apply over the last tenth of the same fills."""
    if importlib.util.find_spec("nautilus_trader") is None:
        return "nautilus_trader: not installed (pip install nautilus_trader)", None
    from nautilus_trader import __version__
    from nautilus_trader.core.uuid import UUID4
    from nautilus_trader.model import identifiers as ids
    from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderType
    from nautilus_trader.model.events import OrderFilled as NautilusFilled
    from nautilus_trader.model.objects import Currency, Price, Quantity
    from nautilus_trader.model.objects import Money as NautilusMoney
    from nautilus_trader.model.position import Position
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    instrument = TestInstrumentProvider.btcusdt_binance()
    usdt = Currency.from_str("USDT")
    commission = NautilusMoney(0.02, usdt)
    fills = [
        NautilusFilled(
            trader_id=ids.TraderId("T-001"), strategy_id=ids.StrategyId("S-001"), instrument_id=instrument.id,
            client_order_id=ids.ClientOrderId(f"O-{n}"), venue_order_id=ids.VenueOrderId(f"V-{n}"),
            account_id=ids.AccountId("BINANCE-1"), trade_id=ids.TradeId(f"E{n}"),
            position_id=ids.PositionId("P-1"),
            order_side=OrderSide.BUY if side == "BUY" else OrderSide.SELL, order_type=OrderType.MARKET,
            last_qty=Quantity.from_str(f"{D(qty):.6f}"), last_px=Price.from_str(px),
            currency=usdt, commission=commission,
            liquidity_side=LiquiditySide.TAKER, event_id=UUID4(), ts_event=n, ts_init=n,
        )
        for n, (side, qty, px) in enumerate(rows)
    ]  # fmt: skip
    best = 0.0
    for _ in range(3):
        held, tenth = Position(instrument=instrument, fill=fills[0]), len(fills) - len(fills) // 10
        for fill in fills[1:tenth]:
            held.apply(fill)
        start = perf_counter()
        for fill in fills[tenth:]:
            held.apply(fill)
        best = max(best, (len(fills) - tenth) / (perf_counter() - start))
    return f"nautilus_trader {__version__} Position.apply", best


def beancount_per_second(rows: list[tuple[str, str, str]]) -> tuple[str | None, float | None]:
    """Measure beancount's own FIFO booking of the same trades, already parsed."""
    if importlib.util.find_spec("beancount") is None:
        return "beancount: not installed (pip install beancount)", None
    import beancount
    from beancount.parser import booking, parser

    text = ['2020-01-01 open Assets:Coins BTC "FIFO"', "2020-01-01 open Assets:Cash", "2020-01-01 open Income:Gains"]
    for n, (side, qty, px) in enumerate(rows):
        day = (datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n // 24)).date()
        cash = D(qty) * D(px)
        text.append(f'{day} * "{n}"')
        if side == "BUY":
            text += [f"  Assets:Coins  {qty} BTC {{{px} USDT}}", f"  Assets:Cash  -{cash} USDT"]
        else:
            text += [f"  Assets:Coins  -{qty} BTC {{}} @ {px} USDT", f"  Assets:Cash  {cash} USDT", "  Income:Gains"]
    entries, _, options = parser.parse_string("\n".join(text))
    start = perf_counter()
    booked, errors = booking.book(entries, options)
    taken = perf_counter() - start
    assert not errors, errors[:3]
    assert len(booked) >= len(rows)
    return f"beancount {beancount.__version__} booking, FIFO", len(rows) / taken


def main() -> None:
    """Run all measurements."""
    codec()
    positions()


if __name__ == "__main__":
    main()
