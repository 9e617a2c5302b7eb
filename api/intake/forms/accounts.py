"""Closing of accounts, and transfers of money: requested, settled, returned."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from api.intake.forms.fields import DEFAULT_ACCOUNT, MONEY, NAME, TEXT, TIME, Field
from api.intake.forms.form import Form, Look, Operation, Record, known
from api.intake.forms.records import transfer_record
from api.problems import not_found
from api.read_models.records import account_record
from domain import account
from domain.access import Scope
from domain.account import CloseAccount, Indicator, Leg, RequestTransfer, ReturnTransfer, SettleTransfer
from domain.errors import InvalidInput
from domain.values import Money

if TYPE_CHECKING:
    from api.daybook import Daybook


class CloseAccountForm(Form, frozen=True, kw_only=True):
    """Close an account: no more orders and transfers. Balances are zero, positions flat, and nothing is open by then.

    What a venue still reports is recorded, with a break. Closed accounts are not opened again.
    """

    account_id: Annotated[str, Field(NAME, "the account")]
    reason: Annotated[str, Field(TEXT, "why; kept on record")]

    def request(self, daybook: "Daybook", at: datetime) -> CloseAccount:
        """Return the request. Raises Problem if the account is not on record."""
        known(
            daybook.writer.state(account.stream(self.account_id)), f"account {self.account_id}",
            account_id=self.account_id,
        )  # fmt: skip
        return CloseAccount(self.account_id, self.reason, at)

    def record(self, look: Look) -> Record:
        """Return the account."""
        return account_record(look(account.stream(self.account_id)))


class RequestTransferForm(Form, frozen=True, kw_only=True):
    """Request a transfer of money out of an account, or into it: it is pending until it is settled or returned.

    Pending, it books nothing, but what is to leave is no longer available. Between two accounts of ours it is requested
    for the debited one, and is pending in both. A cash account is not overdrawn by it.
    """

    account_id: Annotated[str, Field(NAME, "the account it leaves (DEBIT) or reaches (CREDIT)", "--account", "main")]
    transfer_id: Annotated[str, Field(NAME, "your own id of the transfer")]
    amount: Annotated[Money, Field(MONEY, "how much, and of what")]
    indicator: Annotated[Indicator, Field(None, "DEBIT: out of the account; CREDIT: into it")] = Indicator.DEBIT
    fee: Annotated[Money | None, Field(MONEY, "what the account pays beside the amount")] = None
    counter_account_id: Annotated[str | None, Field(NAME, "the other account, if it is ours too", "--to-account")] = (
        None
    )
    counterparty: Annotated[str, Field(TEXT, "who is at the other end, if not one of our accounts")] = ""

    def request(self, daybook: "Daybook", at: datetime) -> RequestTransfer:  # noqa: ARG002
        """Return the request. Raises InvalidInput."""
        if self.amount.amount <= 0:
            raise InvalidInput("amount.amount", f"{self.amount.amount:f}", "above zero; `indicator` has the direction")
        if self.fee is not None and self.fee.amount < 0:
            raise InvalidInput("fee.amount", f"{self.fee.amount:f}", "zero or above")
        leg = Leg(
            self.transfer_id, self.indicator, self.amount, self.fee, counter_account_id=self.counter_account_id or "",
            counterparty=self.counterparty,
        )  # fmt: skip
        return RequestTransfer(self.account_id, leg, at)

    def record(self, look: Look) -> Record:
        """Return the transfer."""
        return transfer_record(
            self.account_id, look(account.stream(self.account_id)).cash.transfers[self.transfer_id]
        )  # fmt: skip


class _OfTransfer(Form, frozen=True, kw_only=True):
    account_id: Annotated[str, Field(NAME, "the account it was requested for", "--account", DEFAULT_ACCOUNT)]
    transfer_id: Annotated[str, Field(NAME, "the id it was requested by")]

    def _leg(self, daybook: "Daybook") -> Leg:
        """The transfer as it is on record. Raises Problem."""
        state = daybook.writer.state(account.stream(self.account_id))
        transfer = state.cash.transfers.get(self.transfer_id) if state is not None else None
        if transfer is None:
            what = f"transfer {self.transfer_id} of account {self.account_id}"
            raise not_found(what, account_id=self.account_id, transfer_id=self.transfer_id)
        leg: Leg = transfer.leg
        return leg

    def record(self, look: Look) -> Record:
        """Return the transfer."""
        return transfer_record(self.account_id, look(account.stream(self.account_id)).cash.transfers[self.transfer_id])


class SettleTransferForm(_OfTransfer, frozen=True, kw_only=True):
    """Record that a transfer of money has settled: it is booked, in both accounts if both are ours."""

    transact_time: Annotated[datetime | None, Field(TIME, "when it settled; now if absent", "--at")] = None

    def request(self, daybook: "Daybook", at: datetime) -> SettleTransfer:
        """Return the report. Raises Problem if the transfer is not on record."""
        return SettleTransfer(self.account_id, self._leg(daybook), self.transact_time or at)


class ReturnTransferForm(_OfTransfer, frozen=True, kw_only=True):
    """Record that the money of a transfer did not move, or came back: what its settlement booked is reversed."""

    reason: Annotated[str, Field(TEXT, "why; kept on record")] = ""
    transact_time: Annotated[datetime | None, Field(TIME, "when it was returned; now if absent", "--at")] = None

    def request(self, daybook: "Daybook", at: datetime) -> ReturnTransfer:
        """Return the report. Raises Problem if the transfer is not on record."""
        return ReturnTransfer(self.account_id, self._leg(daybook), self.reason, self.transact_time or at)


_TRANSFER = {"account_id": "main", "transfer_id": "W-1"}
OPERATIONS = (
    Operation(
        "close_account", CloseAccountForm, "/accounts/{account_id}/close", "account close", scope=Scope.ADMIN,
        answer="AccountAnswer", arguments=("account_id",),
        said="Account {account_id} is closed since {closed_at}.",
        example={"account_id": "old", "reason": "moved to main"},
        usage="account close older --reason 'moved to main'",
    ),
    Operation(
        "request_cash_transfer", RequestTransferForm, "/cash-transfers", "cash-transfer request", scope=Scope.RECORD,
        answer="CashTransferAnswer", tag="cash", arguments=("transfer_id",),
        said="Transfer {transfer_id} of {amount} is {status}.",
        example=_TRANSFER | {"amount": {"amount": "250", "currency": "USDT"}, "counter_account_id": "cold"},
        usage="cash-transfer request W-2 --amount '100 USDT' --to-account cold",
    ),
    Operation(
        "settle_cash_transfer", SettleTransferForm, "/cash-transfers/{account_id}/{transfer_id}/settle",
        "cash-transfer settle", scope=Scope.RECORD, answer="CashTransferAnswer", tag="cash", arguments=("transfer_id",),
        said="Transfer {transfer_id} of {amount} is {status}.",
        example=_TRANSFER, usage="cash-transfer settle W-2",
    ),
    Operation(
        "return_cash_transfer", ReturnTransferForm, "/cash-transfers/{account_id}/{transfer_id}/return",
        "cash-transfer return", scope=Scope.RECORD, answer="CashTransferAnswer", tag="cash", arguments=("transfer_id",),
        said="Transfer {transfer_id} of {amount} is {status}.",
        example=_TRANSFER | {"reason": "unknown address"}, usage="cash-transfer return W-2 --reason 'unknown address'",
    ),
)  # fmt: skip
