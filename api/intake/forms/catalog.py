"""The catalog of requests: those declared as forms, and how each of the others is reached."""

from typing import NamedTuple

from api.intake.forms import accounts, instruments, orders, positions, settings, transfers
from api.intake.forms.form import Operation
from domain import access, order
from domain.account import ForgetSubject, OpenAccount, ResolveBreak
from domain.instrument import ListInstrument
from domain.marks import RecordMarks
from domain.policies import SetPolicy
from domain.risk import (
    ArmDeadManSwitch,
    DisarmDeadManSwitch,
    EngageSwitch,
    FireDeadManSwitch,
    ReleaseSwitch,
    SetLimit,
    StateCapital,
)
from domain.sealed.figures import CloseFigures

OPERATIONS: tuple[Operation, ...] = (
    *orders.OPERATIONS,
    *instruments.OPERATIONS,
    *positions.OPERATIONS,
    *transfers.OPERATIONS,
    *accounts.OPERATIONS,
    *settings.OPERATIONS,
)


class Reach(NamedTuple):
    """How callers reach a request: its operation id, and its command, by an example."""

    operation: str
    usage: str


BY_HAND: dict[type, Reach] = {
    OpenAccount: Reach("open_account", "account open main --base USDT --method FIFO"),
    ListInstrument: Reach(
        "list_instrument",
        "instrument add BTCUSDT.BINANCE --base BTC --quote USDT --tick-size 0.01 --lot-size 0.00001",
    ),
    SetLimit: Reach("set_limit", "limit set --measure MAX_POSITION --limit 20 --instrument BTCUSDT.BINANCE"),
    order.SubmitOrder: Reach(
        "submit_order", "order submit A-18 --instrument BTCUSDT.BINANCE --side BUY --qty 0.25 --price 97500.10"
    ),
    order.CancelOrder: Reach("cancel_order", "order cancel A-18 --reason 'no longer wanted'"),
    order.CancelOrders: Reach("cancel_all_orders", "order cancel-all --reason 'the feed is down'"),
    StateCapital: Reach("state_capital", "capital state 100000 USDT"),
    SetPolicy: Reach("set_policy", "policy set marks --interval-seconds 10"),
    ArmDeadManSwitch: Reach("arm_dead_man_switch", "dead-man-switch arm --seconds 30"),
    DisarmDeadManSwitch: Reach("arm_dead_man_switch", "dead-man-switch disarm"),
    FireDeadManSwitch: Reach("fire_dead_man_switch", "dead-man-switch fire --strategy maker"),
    RecordMarks: Reach("record_marks", "import-marks candles.csv --instrument BTCUSDT.BINANCE --every 1d"),
    EngageSwitch: Reach("engage_kill_switch", "kill-switch engage --reason 'the feed is stale'"),
    ReleaseSwitch: Reach("release_kill_switch", "kill-switch release --reason 'the feed is back'"),
    ResolveBreak: Reach("dismiss_break", "break dismiss 3f1c5e0a9b7d2468 --reason 'dust, written off'"),
    ForgetSubject: Reach("forget_subject", "redact s-1042"),
    CloseFigures: Reach("close_figures", "close"),
    access.IssueKey: Reach("issue_key", "keys create bot --scope trade"),
    access.RescopeKey: Reach("rescope_key", "keys rescope KEY --scope read"),
    access.BoundKey: Reach("bound_key", "keys bound KEY --account main"),
    access.RotateKey: Reach("rotate_key", "keys rotate KEY"),
    access.RevokeKey: Reach("revoke_key", "keys revoke KEY --reason replaced"),
    access.SetApprovalPolicy: Reach("set_approval_policy", "approval require limit"),
    access.ApproveProposal: Reach("approve_proposal", "approve PROPOSAL"),
    access.RejectProposal: Reach("reject_proposal", "reject PROPOSAL --reason 'too much'"),
}


def reached() -> dict[type, tuple[Reach, ...]]:
    """Return every way to reach each request, and each report that a form records."""
    found: dict[type, tuple[Reach, ...]] = {request: (reach,) for request, reach in BY_HAND.items()}
    for operation in OPERATIONS:
        request: type = operation.form.request.__annotations__["return"]
        usage = "" if operation.is_hidden else operation.usage
        found[request] = (*found.get(request, ()), Reach(operation.name, usage))
    return found
