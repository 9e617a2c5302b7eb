"""Schemas of venue reports on cash and coins: what moved other than by trades.

Amounts are above zero where the type says the direction; of `interest`, `income`, `rebate`, `adjustment`, `funding` and
`entry` they are signed, above zero received, below zero paid. Each has an id of its own: reported again it is known,
reported with another content it is a break that shows both. Coins that come or go in kind have a cost where an
`instrument_id` is given with it: they are then quantity of that position.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from api.http.fields import InstrumentId, Name, Number, Positive, RequestBody, Text, VenueTime, unreadable
from api.http.fields import Leg as PositionLeg
from api.intake.venue_reports.fields import MAIN, Amount, CashFields, example
from domain.account import (
    BookEntry,
    ChargeFee,
    ConvertMoney,
    EntryKind,
    Indicator,
    Leg,
    ReturnTransfer,
    SettleTransfer,
)
from domain.errors import InvalidInput
from domain.instrument import Instrument
from domain.position import PositionKey, SettleFunding, Transfer, TransferReason
from domain.values import DEFAULT_STRATEGY, ZERO, Money, PositionSide, Side

Cash = SettleTransfer | ReturnTransfer | ChargeFee | BookEntry | ConvertMoney | Transfer | SettleFunding
USDT = {"currency": "USDT"}


def _example(type_: str, second: int, **fields: Any) -> Any:
    return example(type=type_, account_id=MAIN, **fields, transact_time=f"2026-01-02T04:00:{second:02}Z")


def _above_zero(amount: Amount) -> Money:
    money = amount.money()
    if money.amount <= 0:
        raise InvalidInput("amount.amount", money.amount, "above zero: the type says the direction")
    return money


class InKind(CashFields):
    """A report that may be of coins in kind."""

    amount: Amount
    instrument_id: InstrumentId | None = Field(
        None, description="of coins in kind: the spot instrument whose position they become part of, with `cost`"
    )
    strategy_id: Name = Field(DEFAULT_STRATEGY, description="of the position")
    cost: Number | None = Field(
        None,
        description="what the coins cost or are worth, in the instrument's settlement currency, above zero; of a"
        " withdrawal absent: what goes leaves at its own cost",
    )
    needs_cost: ClassVar[bool] = True

    @model_validator(mode="after")
    def _is_whole(self) -> "InKind":
        is_in_kind = self.instrument_id is not None
        if is_in_kind != (self.cost is not None) and (self.needs_cost or not is_in_kind):
            raise unreadable("complete: instrument_id and cost are given together, or neither")
        return self

    def check_listed(self, listed: Callable[[str], Instrument | None]) -> None:
        """Check that the coins are what the instrument trades. Raises InvalidInput."""
        if self.instrument_id is None or (known := listed(self.instrument_id)) is None:
            return
        if self.amount.currency != known.contract.base:
            rule = f"{known.contract.base}, the base of {self.instrument_id}"
            raise InvalidInput("amount.currency", self.amount.currency, rule)

    def _moved(self, transfer_id: str, sign: int, reason: TransferReason) -> Transfer | None:
        """Return the transfer of coins in kind (`sign` +1 in, -1 out); None where it is cash."""
        if self.instrument_id is None:
            return None
        key = PositionKey(self.account_id, self.strategy_id, self.instrument_id)
        return Transfer(
            key, transfer_id, Side.BUY if sign > 0 else Side.SELL, abs(self.amount.amount),
            cost=Decimal(sign) * abs(self.cost or ZERO), transact_time=self.transact_time.at, reason=reason,
            is_at_cost=not reason.is_disposal,
        )  # fmt: skip


class _Moved(InKind):
    """A deposit or withdrawal. Balances change by the amount, and by the fee; capital flows by the amount. No PnL."""

    transfer_id: Name
    fee: Amount | None = Field(None, description="what the venue charged beside the amount, above zero")
    counterparty: Text = Field("", description="who is on the other side, such as an address")
    counter_account_id: Name | None = Field(
        None, description="the other account where it is one of ours: it is booked there too"
    )

    def _leg(self, indicator: Indicator) -> Leg:
        return Leg(
            self.transfer_id, indicator, self.amount.money(), self.fee.money() if self.fee is not None else None,
            counter_account_id=self.counter_account_id or "", counterparty=self.counterparty,
        )  # fmt: skip

    def _settled(self, indicator: Indicator, reason: TransferReason) -> Cash:
        _above_zero(self.amount)
        in_kind = self._moved(self.transfer_id, indicator.sign, reason)
        if in_kind is not None and (self.fee is not None or self.counter_account_id is not None):
            raise InvalidInput("instrument_id", self.instrument_id, "without fee and counter_account_id")
        return in_kind or SettleTransfer(self.account_id, self._leg(indicator), **self.dates)


class Deposit(_Moved):
    """Money or coins came in. The balance rises, capital flows count it as brought in; it is no gain."""

    model_config = _example("deposit", 1, transfer_id="D-1", amount=USDT | {"amount": "10000"})
    type: Literal["deposit"]

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._settled(Indicator.CREDIT, TransferReason.DEPOSIT)


class Withdrawal(_Moved):
    """Money or coins went out. The balance falls by amount and fee, capital flows count it as taken out; no loss."""

    model_config = _example(
        "withdrawal", 2, transfer_id="W-1", amount=USDT | {"amount": "250"}, fee=USDT | {"amount": "1"}
    )
    type: Literal["withdrawal", "withdraw"]
    needs_cost: ClassVar[bool] = False

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._settled(Indicator.DEBIT, TransferReason.WITHDRAWAL)


class _Returned(_Moved):
    def _returned(self, indicator: Indicator) -> Cash:
        _above_zero(self.amount)
        if self.instrument_id is not None:
            raise InvalidInput("instrument_id", self.instrument_id, "left out: report a transfer the other way")
        return ReturnTransfer(self.account_id, self._leg(indicator), self.reason, **self.dates)


class DepositReturned(_Returned):
    """A deposit did not come, or went back: what it had booked under its `transfer_id` is reversed."""

    model_config = _example(
        "deposit_returned", 3, transfer_id="D-2", amount=USDT | {"amount": "40"}, reason="wrong network"
    )
    type: Literal["deposit_returned"]

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._returned(Indicator.CREDIT)


class WithdrawalReturned(_Returned):
    """A withdrawal failed, or came back: what it had booked under its `transfer_id` is reversed."""

    model_config = _example(
        "withdrawal_returned", 4, transfer_id="W-2", amount=USDT | {"amount": "40"}, reason="address rejected"
    )
    type: Literal["withdrawal_returned"]

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._returned(Indicator.DEBIT)


class Fee(CashFields):
    """A fee that belongs to no trade and no transfer: custody, market data. The balance falls, and so does equity."""

    model_config = _example("fee", 5, fee_id="F-1", amount=USDT | {"amount": "3"}, reason="market data")
    type: Literal["fee"]
    fee_id: Name
    amount: Amount = Field(description="what was paid, above zero; a fee that is given back is a `rebate`")

    def report(self) -> Cash:
        """Return the report of the domain."""
        return ChargeFee(self.account_id, self.fee_id, _above_zero(self.amount), self.reason, **self.dates)


class _Entry(CashFields):
    entry_id: Name

    def _entry(self, kind: EntryKind, amount: Amount, indicator: Indicator | None = None) -> BookEntry:
        """Return the entry: of the direction given, or of the amount's sign."""
        money = amount.money() if indicator is None else _above_zero(amount)
        if not money.amount:
            raise InvalidInput("amount.amount", money.amount, "other than zero: above zero received, below zero paid")
        return BookEntry(
            self.account_id, self.entry_id, kind,
            indicator or (Indicator.CREDIT if money.amount > 0 else Indicator.DEBIT),
            amount=Money(abs(money.amount), money.currency), reason=self.reason, **self.dates,
        )  # fmt: skip


class _Earned(_Entry, InKind):
    """Income: the balance rises, and equity with it; below zero it is taken back or paid. No flow of capital."""

    def _earned(self, kind: EntryKind, reason: TransferReason) -> Cash:
        sign = 1 if self.amount.amount > 0 else -1
        return (self._moved(self.entry_id, sign, reason) if self.amount.amount else None) or self._entry(
            kind, self.amount
        )


class Interest(_Earned):
    """Interest: above zero received, below zero paid, such as that of a loan. Income, no flow of capital."""

    model_config = _example("interest", 6, entry_id="I-1", amount=USDT | {"amount": "-0.0204"}, reason="margin loan")
    type: Literal["interest"]

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._earned(EntryKind.INTEREST, TransferReason.INTEREST)


class Rebate(_Earned):
    """A rebate, a referral bonus, a cashback: above zero received. Income, no flow of capital."""

    model_config = _example("rebate", 7, entry_id="R-1", amount=USDT | {"amount": "0.75"})
    type: Literal["rebate"]

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._earned(EntryKind.REBATE, TransferReason.REBATE)


class StakingReward(_Earned):
    """A reward of staking: above zero received. Income; with `instrument_id` and `cost` it is that of the position."""

    model_config = _example("staking_reward", 8, entry_id="S-1", amount={"amount": "0.01", "currency": "ETH"})
    type: Literal["staking_reward", "staking", "reward"]

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._earned(EntryKind.STAKING, TransferReason.STAKING)


class Airdrop(_Earned):
    """Coins given away: income of their worth; with `instrument_id` and `cost` it is that of the position."""

    model_config = _example("airdrop", 9, entry_id="AD-1", amount={"amount": "12", "currency": "ARB"})
    type: Literal["airdrop"]

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._earned(EntryKind.AIRDROP, TransferReason.AIRDROP)


class Income(_Entry):
    """Income of no other type: above zero received, below zero paid. Equity follows it; no flow of capital."""

    model_config = _example("income", 10, entry_id="N-1", amount=USDT | {"amount": "5"}, reason="competition prize")
    type: Literal["income"]
    amount: Amount

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._entry(EntryKind.INCOME, self.amount)


class Borrowed(_Entry):
    """Money or coins were borrowed: the balance rises, and so does what is owed. No PnL, no capital, no equity."""

    model_config = _example("borrowed", 11, entry_id="L-1", amount=USDT | {"amount": "1000"}, reason="margin loan")
    type: Literal["borrowed", "borrow"]
    amount: Amount

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._entry(EntryKind.LOAN, self.amount, Indicator.CREDIT)


class Repaid(_Entry):
    """What was borrowed was given back: the balance falls, and so does what is owed. Interest is reported apart."""

    model_config = _example("repaid", 12, entry_id="L-2", amount=USDT | {"amount": "400"})
    type: Literal["repaid", "repay"]
    amount: Amount

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._entry(EntryKind.LOAN, self.amount, Indicator.DEBIT)


class Staked(_Entry):
    """Coins were locked up: the balance stays, less of it is available. No PnL and no flow of capital."""

    model_config = _example("staked", 13, entry_id="K-1", amount=USDT | {"amount": "100"})
    type: Literal["staked", "stake"]
    amount: Amount

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._entry(EntryKind.STAKE, self.amount, Indicator.DEBIT)


class Unstaked(_Entry):
    """Coins that were staked are available again. The balance stays. No PnL and no flow of capital."""

    model_config = _example("unstaked", 14, entry_id="K-2", amount=USDT | {"amount": "100"})
    type: Literal["unstaked", "unstake"]
    amount: Amount

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._entry(EntryKind.STAKE, self.amount, Indicator.CREDIT)


class Converted(_Entry):
    """One currency was exchanged for another other than by a trade, such as dust or a conversion at a fixed rate.

    One balance falls, the other rises. No flow of capital; what it gained or lost by its rate is in the equity.
    """

    model_config = _example(
        "converted", 15, entry_id="C-1", sold=USDT | {"amount": "9.7"}, bought={"amount": "0.012", "currency": "BNB"},
        fee={"amount": "0.0002", "currency": "BNB"}, reason="dust",
    )  # fmt: skip
    type: Literal["converted", "conversion", "dust"]
    sold: Amount = Field(description="what went, above zero")
    bought: Amount = Field(description="what came, above zero")
    fee: Amount | None = Field(None, description="what was charged beside it, above zero")

    def report(self) -> Cash:
        """Return the report of the domain."""
        return ConvertMoney(
            self.account_id, self.entry_id, self.sold.money(), self.bought.money(),
            fee=self.fee.money() if self.fee is not None else None, reason=self.reason, **self.dates,
        )  # fmt: skip


class Entry(_Entry):
    """Any other entry of an account, by its `kind`: above zero credited, below zero debited.

    OPENING and ADJUSTMENT are flows of capital and no gain; INTEREST, REBATE, FUNDING, INCOME, STAKING and AIRDROP are
    income; LOAN and STAKE are what `borrowed`, `repaid`, `staked` (below zero) and `unstaked` report.
    """

    model_config = _example("entry", 16, entry_id="J-1", kind="ADJUSTMENT", amount=USDT | {"amount": "-0.5"})
    type: Literal["entry"]
    kind: EntryKind
    amount: Amount

    @model_validator(mode="after")
    def _is_of_one_currency(self) -> "Entry":
        if self.kind in (EntryKind.CONVERSION, EntryKind.REDENOMINATION):
            raise unreadable("a kind of one currency: report a conversion as `converted`")
        return self

    def report(self) -> Cash:
        """Return the report of the domain."""
        return self._entry(self.kind, self.amount)


class Funding(RequestBody):
    """A funding payment of a perpetual: above zero received, below zero paid. PnL of the position, as funding.

    In another currency than the position settles in it is an entry of the account.
    """

    model_config = _example(
        "funding", 17, instrument_id="BTCUSDT.BINANCE", funding_id="FU-1", amount=USDT | {"amount": "-1.25"}
    )
    type: Literal["funding"]
    account_id: Name
    strategy_id: Name = DEFAULT_STRATEGY
    instrument_id: InstrumentId
    funding_id: Name
    amount: Amount
    transact_time: VenueTime
    position_side: PositionLeg = PositionSide.BOTH

    def report(self) -> Cash:
        """Return the report of the domain."""
        key = PositionKey(self.account_id, self.strategy_id, self.instrument_id, self.position_side)
        at, nanos = self.transact_time
        return SettleFunding(key, self.funding_id, self.amount.money(), at, nanos=nanos)


class Transferred(RequestBody):
    """Quantity of an instrument came (BUY) or went (SELL) without a trade; see POST /v1/transfers.

    What goes leaves at its own cost, with any stated one or none, but for a DISPOSAL.
    As AIRDROP, STAKING, INTEREST or REBATE it is income of its cost, otherwise a flow of capital.
    """

    model_config = _example(
        "transfer", 18, instrument_id="BTCUSDT.BINANCE", transfer_id="T-1", side="BUY", quantity="0.5", cost="48000",
        reason="DEPOSIT",
    )  # fmt: skip
    type: Literal["transfer"]
    account_id: Name
    strategy_id: Name = DEFAULT_STRATEGY
    instrument_id: InstrumentId
    transfer_id: Name
    side: Side = Side.BUY
    quantity: Positive
    cost: Number = Field(ZERO, description="of what comes, in settlement currency, signed as its value is")
    reason: TransferReason = Field(TransferReason.OPENING, description="why it moved")
    transact_time: VenueTime

    def report(self) -> Cash:
        """Return the report of the domain."""
        key = PositionKey(self.account_id, self.strategy_id, self.instrument_id)
        return Transfer(
            key, self.transfer_id, self.side, self.quantity, cost=self.cost, transact_time=self.transact_time.at,
            reason=self.reason, is_at_cost=not self.reason.is_disposal,
        )  # fmt: skip


OfCash = (
    Deposit | Withdrawal | DepositReturned | WithdrawalReturned | Fee | Interest | Rebate | StakingReward | Airdrop
    | Income | Borrowed | Repaid | Staked | Unstaked | Converted | Entry | Funding | Transferred
)  # fmt: skip
OF_CASH: tuple[type[RequestBody], ...] = get_args(OfCash)
