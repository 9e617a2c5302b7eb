"""Gains of random books as rp2, a tax calculator of others, works them out in the same run."""

import os
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Context, DivisionByZero, InvalidOperation, localcontext
from decimal import Decimal as D
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from domain.account import CostBasis
from domain.holdings.gains import Acquired, Arrived, Departed, Disposed, Gains, Kind, Scope, What, Worth, exact_rate
from domain.values import ZERO, rounded
from tests.projections.gains.test_gains_oracle_books import Book

pytestmark = pytest.mark.slow
COIN, EUR = "B1", exact_rate("EUR")
METHODS = ("FIFO", "LIFO", "HIFO", "LOFO")
BY_COST = ("HIFO", "LOFO")  # by which rp2 1.7 loses a lot where income comes between two disposals
BEGAN = datetime(2019, 6, 1, tzinfo=UTC)
LONG_TERM_DAYS = 365
PLACES = 8  # of quantities: it takes those for equal that differ by less than 1e-13
COLUMNS = {
    "in": "timestamp asset exchange holder transaction_type spot_price crypto_in crypto_fee fiat_in_no_fee"
    " fiat_in_with_fee fiat_fee unique_id notes",
    "out": "timestamp asset exchange holder transaction_type spot_price crypto_out_no_fee crypto_fee"
    " crypto_out_with_fee fiat_out_no_fee fiat_fee unique_id notes",
    "intra": "timestamp asset from_exchange from_holder to_exchange to_holder spot_price crypto_sent crypto_received"
    " unique_id notes",
}


class Step(NamedTuple):
    """One step of a book: what happened, how much (in tenths of what is held, for what leaves), when and at what."""

    act: str
    tenths: int
    hours: int
    price: D
    fee_percent: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(("BUY", "BUY", "STAKING", "SELL", "SELL", "FEE", "MOVE")),
        st.integers(1, 10),
        st.integers(1, 2500),
        st.decimals("0.01", "60000", places=2),
        st.sampled_from((0, 1, 3)),
    ),
    min_size=4,
    max_size=40,
)


class Line(NamedTuple):
    """A step with its quantity and fee in the coin, as both sides get it."""

    row: int
    act: str
    at: datetime
    price: D
    quantity: D
    fee: D


def book(steps):
    """The lines of a book that never disposes of more than it holds, and is all in one account at first."""
    at, held, lines = BEGAN, ZERO, []
    for row, step in enumerate(steps, 1):
        at += timedelta(hours=step.hours)
        if step.act in ("BUY", "STAKING"):
            quantity, fee = D(step.tenths) * D("1.37") + D(row) / 1000, ZERO
            held += quantity
        elif not held:
            continue
        else:
            quantity = held if step.tenths == 10 else rounded(held * step.tenths / 10, PLACES)
            fee = rounded(quantity * step.fee_percent / 100, PLACES) if step.act in ("SELL", "MOVE") else ZERO
            if step.act == "MOVE":
                held -= fee
            else:
                held -= quantity
                quantity -= fee
        price = step.price + D(row) / 1000  # no two alike: which of equals goes first is a convention
        lines.append(Line(row, step.act, at, price, quantity, fee))
    return lines


def ours(lines, method):
    gains, found = Gains(Scope.ALL, lambda _: CostBasis(method)), []
    for line in lines:
        reference = str(line.row)

        def what(kind, account_id="one", reference=reference, at=line.at):
            return What(account_id, reference, at, kind)

        worth = Worth(line.price * line.quantity, EUR)
        match line.act:
            case "BUY" | "STAKING":
                gains.apply(Acquired(what(Kind.PURCHASE), COIN, line.quantity, worth, line.act == "STAKING"))
            case "SELL":
                found += gains.apply(Disposed(what(Kind.SALE), COIN, line.quantity + line.fee, worth))
            case "FEE":
                found += gains.apply(Disposed(what(Kind.FEE), COIN, line.quantity, worth))
            case "MOVE":
                if line.fee:
                    found += gains.apply(Disposed(what(Kind.FEE), COIN, line.fee, Worth(line.price * line.fee, EUR)))
                gains.apply(Departed(what(Kind.TRANSFER), COIN, line.quantity - line.fee, reference))
                gains.apply(Arrived(what(Kind.TRANSFER, "two"), COIN, reference))
    return found


def recorded(lines, method):
    """The matches of the same lines, reported to a ledger and read from its log."""
    events = []
    for line in lines:
        event = {
            "id": str(line.row), "ts": line.at.isoformat(), "account": "one", "unit_price": str(line.price),
            "qty": str(line.quantity),
        }  # fmt: skip
        value = str(line.price * line.quantity)
        match line.act:
            case "BUY" | "STAKING":
                event |= {"type": "acquire", "cost_total": value, "income_on_receipt": line.act == "STAKING"}
            case "SELL" | "FEE":
                event |= {"type": "dispose", "qty_with_fee": str(line.quantity + line.fee), "proceeds_total": value}
            case "MOVE":
                received = str(line.quantity - line.fee)
                event |= {"type": "transfer", "to_account": "two", "qty_received": received, "fee_base": str(line.fee)}
        events.append(event)
    _, matches, _ = Book(
        {"events": events, "method": method, "scope": "global", "quote": "EUR", "asset": COIN}
    ).matched()
    return matches


class Rp2:
    """The calculator, loaded from a folder of its own, as it writes a log where it is loaded."""

    def __init__(self, folder):
        config = folder / "rp2.ini"
        headers = (
            "\n".join([f"[{name}_header]", *(f"{column} = {at}" for at, column in enumerate(columns.split()))])
            for name, columns in COLUMNS.items()
        )
        config.write_text(f"[general]\nassets = {COIN}\nexchanges = one, two\nholders = H\n" + "\n".join(headers))
        with inside(folder), plain_decimals():
            self.engine, self.number = import_module("rp2.tax_engine"), import_module("rp2.rp2_decimal").RP2Decimal
            self.parts = {
                name: getattr(import_module(f"rp2.{name}_transaction"), f"{name.title()}Transaction")
                for name in ("in", "out", "intra")
            }
            self.sets = import_module("rp2.transaction_set").TransactionSet
            self.data = import_module("rp2.input_data").InputData
            self.accounting = import_module("rp2.accounting_engine").AccountingEngine
            self.tree = import_module("prezzemolo.avl_tree").AVLTree
            country = import_module("rp2.plugin.country.us").US()
            self.config = import_module("rp2.configuration").Configuration(
                str(config), country, allow_negative_balances=True
            )
            self.methods = {
                name: import_module(f"rp2.plugin.accounting_method.{name.lower()}").AccountingMethod for name in METHODS
            }

    def matches(self, lines, method):
        """Disposal, lot, quantity, proceeds, cost, gain and term of each part of a disposal."""
        sets = {name: self.sets(self.config, name.upper(), COIN) for name in self.parts}
        for line in lines:
            sets["in" if line.act in ("BUY", "STAKING") else "intra" if line.act == "MOVE" else "out"].add_entry(
                self._entry(line)
            )
        methods = self.tree()
        methods.insert_node(1970, self.methods[method]())
        data = self.data(COIN, sets["in"], sets["out"], sets["intra"])
        computed = self.engine.compute_tax(self.config, self.accounting(methods), data)
        return [
            (
                int(one.taxable_event.internal_id), int(one.acquired_lot.internal_id), D(one.crypto_amount),
                D(one.taxable_event_fiat_amount_with_fee_fraction), D(one.fiat_cost_basis), D(one.fiat_gain),
                one.is_long_term_capital_gains(),
            )
            for one in computed.gain_loss_set
            if one.acquired_lot is not None
        ]  # fmt: skip

    def _entry(self, line):
        price, quantity, fee = (self.number(str(value)) for value in (line.price, line.quantity, line.fee))
        about = {"configuration": self.config, "timestamp": line.at.isoformat(), "asset": COIN, "row": line.row}
        of_one = about | {"exchange": "one", "holder": "H", "spot_price": price, "transaction_type": line.act}
        match line.act:
            case "BUY" | "STAKING":
                return self.parts["in"](**of_one, crypto_in=quantity, fiat_fee=self.number("0"))
            case "SELL":
                return self.parts["out"](**of_one, crypto_out_no_fee=quantity, crypto_fee=fee)
            case "FEE":
                return self.parts["out"](**of_one, crypto_out_no_fee=self.number("0"), crypto_fee=quantity)
        return self.parts["intra"](
            **about, from_exchange="one", from_holder="H", to_exchange="two", to_holder="H", spot_price=price,
            crypto_sent=quantity, crypto_received=quantity - fee,
        )  # fmt: skip


@contextmanager
def inside(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def plain_decimals():
    """Decimals as others use them: rounded, and not exact or refused."""
    with localcontext(Context(prec=50, traps=[InvalidOperation, DivisionByZero])):
        yield


@pytest.fixture(scope="module")
def rp2(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it loads has escapes that Python warns of
        return Rp2(tmp_path_factory.mktemp("rp2"))


def shown(rows):
    return sorted(rows, key=lambda row: row[:2])


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30, phases=(Phase.explicit, Phase.generate))  # shrinking what takes rp2 long takes minutes
@given(steps=STEPS)
def test_a_live_run_of_rp2_matches_the_same_lots_with_the_same_gains(rp2, method, steps):
    if method in BY_COST:
        steps = [step._replace(act="BUY") if step.act == "STAKING" else step for step in steps]
    lines = book(steps)
    if not any(line.act in ("BUY", "STAKING") for line in lines):
        return
    with plain_decimals():
        theirs = shown(rp2.matches(lines, method))
    for matches in (ours(lines, method), recorded(lines, method)):
        compare(matches, theirs)


def compare(matches, theirs):
    found = shown(
        (
            int(match.disposed.what.reference), int(match.lot.lot_id), match.quantity, match.proceeds, match.cost,
            match.gain, match.is_long_term(LONG_TERM_DAYS),
        )
        for match in matches
    )  # fmt: skip
    assert [row[:3] for row in found] == [row[:3] for row in theirs]
    for mine, other in zip(found, theirs, strict=True):
        for one, two in zip(mine[3:6], other[3:6], strict=True):
            assert abs(one - two) <= D("1e-9")
        assert mine[6] == other[6]
