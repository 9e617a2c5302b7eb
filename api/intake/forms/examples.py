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
    "cancel_all_orders": Example({"account_id": "main", "reason": "the feed is down"}),
    "state_capital": Example({"account_id": "main", "amount": "100000", "currency": "USDT"}),
    "set_policy": Example({"policy": "MARKS", "interval_seconds": 10}),
    "arm_dead_man_switch": Example({"account_id": "main", "countdown_ms": 30000}),
    "fire_dead_man_switch": Example({"account_id": "main", "strategy_id": "maker"}),
    "record_marks": Example({"marks": [{"instrument_id": BTC, "price": "97480.50", "quality": "MID"}]}),
    "engage_kill_switch": Example({"account_id": "main", "mode": "HALT", "reason": "the feed is stale"}),
    "release_kill_switch": Example({"account_id": "main", "reason": "the feed is back"}),
    "dismiss_break": Example({"account_id": "main", "break_id": "3f1c5e0a9b7d2468", "reason": "dust, written off"}),
    "issue_key": Example({"name": "bot", "scopes": ["trade", "read"]}),
    "rescope_key": Example({"scopes": ["read"]}, {"key_id": "k1"}),
    "bound_key": Example({"accounts": ["main"]}, {"key_id": "k1"}),
    "rotate_key": Example({"overlap_seconds": 3600}, {"key_id": "k1"}),
    "revoke_key": Example({"reason": "replaced"}, {"key_id": "k1"}),
    "set_approval_policy": Example({"actions": ["limit"], "valid_hours": 24}),
    "approve_proposal": Example({}, {"proposal_id": "p1"}),
    "reject_proposal": Example({"reason": "too much"}, {"proposal_id": "p1"}),
    "close_figures": Example({"as_of_seq": 1}),
    "forget_subject": Example({"reason": "requested to be forgotten"}, {"subject_id": "s-1042"}),
}  # fmt: skip


def example_of(operation: Operation) -> Example:
    """Return the example of an operation that is a form: its fields, parted by where they are sent."""
    path = {name: operation.example[name] for name in operation.path_fields}
    return Example({name: value for name, value in operation.example.items() if name not in path}, path)


EXAMPLES: dict[str, Example] = BY_HAND | {operation.name: example_of(operation) for operation in OPERATIONS}
