"""What is on record of parent orders, transfers of money and settings of risk, for answers and lists."""

from typing import Any

from msgspec.structs import asdict

from domain.account.cash import CashTransfer
from domain.order.parent import ParentOrder
from domain.risk import Risk

Record = dict[str, Any]


def parent_record(known: ParentOrder) -> Record:
    """Return a parent order and its children."""
    opened = known.opened
    contract = asdict(opened.contract)
    return {
        "account_id": opened.key.account_id, "cl_ord_id": opened.key.cl_ord_id, "strategy_id": opened.strategy_id,
        **contract, "side": opened.side, "order_qty": opened.order_qty, "price": opened.price, "status": known.status,
        "is_closed": known.is_closed, "cum_qty": known.cum_qty, "cum_cost": known.cum_cost,
        "working_qty": known.working_qty, "leaves_qty": known.leaves_qty, "transact_time": opened.transact_time,
        "children": [{"cl_ord_id": name, **asdict(child)} for name, child in sorted(known.children.items())],
    }  # fmt: skip


def transfer_record(account_id: str, known: CashTransfer) -> Record:
    """Return a transfer of money as it stands in one account."""
    leg = known.leg
    return {
        "account_id": account_id, "transfer_id": leg.transfer_id, "indicator": leg.indicator,
        "amount": leg.amount, "fee": leg.fee, "counter_account_id": leg.counter_account_id,
        "counterparty": leg.counterparty, "status": known.status, "settled_at": known.settled_at,
        "returned_at": known.returned_at,
    }  # fmt: skip


def day_record(account_id: str, known: Risk | None) -> Record:
    """Return when the trading days of an account start."""
    return {"account_id": account_id, "starts_at_hour": known.starts_at_hour if known else 0}


def conversion_record(account_id: str, instrument_id: str, known: Risk | None) -> Record:
    """Return whether an account converts by an instrument, and between which currencies."""
    contract = known.conversions.get(instrument_id) if known else None
    return {
        "account_id": account_id, "instrument_id": instrument_id, "is_used": contract is not None,
        "base": contract.base if contract else None, "quote": contract.quote if contract else None,
    }  # fmt: skip


def monitored_record(account_id: str, known: Risk | None) -> Record:
    """Return the capital of an account and what monitoring has found: limits in breach, and those not measured."""
    risk = known or Risk()
    equity = risk.equity
    return {
        "account_id": account_id,
        "capital": equity.capital if equity else None,
        "currency": equity.currency if equity else None,
        "highest_gain": equity.high if equity else None,
        "breaches": [
            {
                **asdict(each.scope), "measure": each.measure, "subject": each.subject, "limit": each.limit,
                "currency": each.currency, "used": each.used,
            }
            for each in risk.breaches.values()
        ],
        "missed": [
            {**asdict(scope), "measure": measure, "rule": rule} for (scope, measure), rule in risk.missed.items()
        ],
    }  # fmt: skip
