"""Examples of every operation that writes: each is sent, in this sequence, to one book, and is accepted there.

`SEQUENCE` is the story they tell: accounts and instruments first, then orders and what follows from them. Operations
that are forms carry their own examples.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from api.intake.forms.catalog import OPERATIONS
from api.intake.forms.form import Operation


class Example(NamedTuple):
    """What the path names, and the body."""

    body: Mapping[str, Any]
    path: Mapping[str, Any] = {}


BTC, PERPETUAL = "BTCUSDT.BINANCE", "BTCUSD-PERP.BITMEX"
BY_HAND: dict[str, Example] = {
    "open_account": Example({"account_id": "main", "base_currency": "USDT", "cost_basis": "FIFO"}),
    "list_instrument": Example(
        {
            "instrument_id": BTC, "kind": "SPOT", "base": "BTC", "quote": "USDT", "tick_size": "0.01",
            "lot_size": "0.00001",
        }
    ),
    "set_limit": Example({"account_id": "main", "measure": "MAX_POSITION", "limit": "25", "instrument_id": BTC}),
    "submit_order": Example(
        {
            "account_id": "main", "cl_ord_id": "A-17", "instrument_id": BTC, "side": "BUY", "order_qty": "0.25",
            "price": "97500.10",
        }
    ),
    "cancel_order": Example({"reason": "no longer wanted"}, {"account_id": "main", "cl_ord_id": "A-17"}),
    "record_marks": Example({"marks": [{"instrument_id": BTC, "price": "97480.50", "quality": "MID"}]}),
    "engage_kill_switch": Example({"account_id": "main", "mode": "HALT", "reason": "the feed is stale"}),
    "release_kill_switch": Example({"account_id": "main", "reason": "the feed is back"}),
    "dismiss_break": Example({"account_id": "main", "break_id": "3f1c5e0a9b7d2468", "reason": "dust, written off"}),
    "issue_key": Example({"name": "bot", "scopes": ["trade", "read"]}),
    "rescope_key": Example({"scopes": ["read"]}, {"key_id": "k1"}),
    "revoke_key": Example({"reason": "replaced"}, {"key_id": "k1"}),
    "set_approval_policy": Example({"actions": ["limit"], "valid_hours": 24}),
    "approve_proposal": Example({}, {"proposal_id": "p1"}),
    "reject_proposal": Example({"reason": "too much"}, {"proposal_id": "p1"}),
    "close_figures": Example({"as_of_seq": 1}),
    "forget_subject": Example({"reason": "requested to be forgotten"}, {"subject_id": "s-1042"}),
}  # fmt: skip

_OF_ORDER = {"account_id": "main", "cl_ord_id": "A-17", "transact_time": "2026-01-10T09:30:00.250Z"}
VENUE_REPORTS: dict[str, Mapping[str, Any]] = {  # by type
    "accepted": _OF_ORDER | {"order_id": "8849201"},
    "filled": _OF_ORDER
    | {
        "instrument_id": BTC, "order_id": "8849201", "side": "BUY", "exec_id": "E-501", "trade_seq": 1,
        "last_qty": "0.1", "last_px": "97480.50", "commission": {"amount": "9.75", "currency": "USDT"},
        "liquidity": "TAKER",
    },
    "cancel_rejected": _OF_ORDER | {"reason": "too late to cancel"},
    "canceled": _OF_ORDER | {"reason": "by user"},
    "expired": _OF_ORDER | {"cl_ord_id": "A-20", "reason": "end of day"},
    "rejected": _OF_ORDER | {"cl_ord_id": "A-21", "reason": "insufficient margin"},
    "funding": {
        "account_id": "main", "instrument_id": PERPETUAL, "funding_id": "F-20260110-08",
        "amount": {"amount": "-0.00012", "currency": "BTC"}, "transact_time": "2026-01-10T08:00:00Z",
    },
}  # fmt: skip


def example_of(operation: Operation) -> Example:
    """Return the example of an operation that is a form: its fields, parted by where they are sent."""
    path = {name: operation.example[name] for name in operation.path_fields}
    return Example({name: value for name, value in operation.example.items() if name not in path}, path)


EXAMPLES: dict[str, Example] = BY_HAND | {operation.name: example_of(operation) for operation in OPERATIONS}
