"""The book that the examples of the API are sent to, one after the other, and the commands run on."""

import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

from api.daybook import Daybook
from domain.account import BalanceLine, Break, BreakKind, BreakOpened

BTC, PERPETUAL, CALL = "BTCUSDT.BINANCE", "BTCUSD-PERP.BITMEX", "BTC-9JAN26-90000-C.DERIBIT"
T0 = datetime(2026, 1, 5, 10, tzinfo=UTC)

Step = str | Callable[["Story"], None]


class Story(NamedTuple):
    """Who takes part: two people with keys, and the process the service runs in."""

    desk: httpx.Client
    other: httpx.Client
    daybook: Daybook
    ids: dict[str, str]

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Send what the story needs beside the examples."""
        done = self.desk.post(f"/v1/{path}", json=body)
        assert done.status_code in (200, 201, 202), (path, done.text)
        answered: dict[str, Any] = done.json()
        return answered


def fill(account: str, instrument: str, exec_id: str, side: str, qty: str, px: str, day: int, **more: Any) -> Any:
    """A fill at noon of a day in January."""
    return {
        "type": "filled", "account_id": account, "cl_ord_id": f"o-{exec_id}", "instrument_id": instrument,
        "side": side, "exec_id": exec_id, "last_qty": qty, "last_px": px,
        "commission": {"amount": "0", "currency": "USDT"}, "transact_time": f"2026-01-{day:02}T12:00:00Z", **more,
    }  # fmt: skip


def set_up(story: Story) -> None:
    """Other accounts and instruments, and money in the first."""
    story.post("accounts", account_id="cold", base_currency="USDT", cost_basis="SPECIFIC", is_margin=True)
    for number, old in enumerate(("old", "older"), 1042):
        owner = {"subject_id": f"s-{number}", "name": "N. N."}
        story.post("accounts", account_id=old, base_currency="USDT", owner=owner)
    sizes = {"tick_size": "0.5", "lot_size": "1"}
    story.post(
        "instruments", instrument_id=PERPETUAL, kind="INVERSE", base="BTC", quote="USD", contract_size="1", **sizes
    )
    story.post(
        "instruments", instrument_id="BTCUSD.DERIBIT", kind="SPOT", base="BTC", quote="USD", tick_size="0.5",
        lot_size="0.1",
    )  # fmt: skip
    option = {"kind": "OPTION", "settle": "USD", "strike": "90000", "put_or_call": "CALL"}
    story.post(
        "instruments", instrument_id=CALL, base="BTC", quote="USD", tick_size="0.0001", lot_size="0.1",
        expiry="2026-01-09T08:00:00Z", **option,
    )  # fmt: skip
    paid_in = {"amount": "500000", "currency": "USDT"}
    story.post("cash-transfers", account_id="main", transfer_id="W-0", amount=paid_in, indicator="CREDIT")
    story.post("cash-transfers/main/W-0/settle")


def trade(story: Story) -> None:
    """Options that will expire, and lots to choose from."""
    story.post(
        "venue-reports",
        reports=[
            fill("main", CALL, "O-1", "BUY", "1", "1200", 6),
            fill("main", CALL, "O-2", "BUY", "1", "1300", 6, strategy_id="hedge"),
            fill("main", CALL, "O-3", "BUY", "2", "1300", 6, strategy_id="physical"),
            fill("cold", BTC, "C-1", "BUY", "1", "90000", 7),
            fill("cold", BTC, "C-2", "BUY", "1", "95000", 8),
            fill("cold", BTC, "C-3", "SELL", "1", "97000", 9),
        ],
    )


def open_break(story: Story) -> None:
    """A reconciliation has found a difference."""
    found = Break(
        "3f1c5e0a9b7d2468", "main", BreakKind.AMOUNT_DIFFERS, ("amount",), BalanceLine("USDT", Decimal(12)),
        BalanceLine("USDT", Decimal("12.5")),
    )  # fmt: skip
    (done,) = story.daybook.writer.report([BreakOpened("main", found, "S-1", T0)], actor="venue")
    assert done.error is None


def engage_by_key(story: Story) -> None:
    """The switch is engaged by another person than who runs the commands."""
    again = {"account_id": "main", "reason": "again"}
    assert story.other.post("/v1/kill-switches/release", json=again).status_code == 201
    story.post("kill-switches", **again)


def propose(story: Story) -> None:
    """A looser limit, which needs a second person."""
    limit = str(30 + int(story.ids.get("PROPOSAL", "P0")[1:]))
    made = story.post("limits", account_id="main", measure="MAX_POSITION", limit=limit, instrument_id=BTC)
    story.ids["proposal_id"] = story.ids["PROPOSAL"] = made["proposal_id"]


def refuse_cancel(story: Story) -> None:
    """The venue lets the order work on."""
    story.ids["refused"] = str(int(story.ids.get("refused", "0")) + 1)
    of = {"account_id": "main", "cl_ord_id": "A-17", "transact_time": f"2026-01-10T00:00:0{story.ids['refused']}Z"}
    story.post("venue-reports", reports=[{"type": "cancel_rejected", **of}])


def lift_limits(story: Story) -> None:
    """The limits of money and equity, which would need marks of all that is held."""
    for limit in (
        {"account_id": "main", "measure": "MAX_GROSS_EXPOSURE", "currency": "USDT"},
        {"account_id": "main", "measure": "MAX_LEVERAGE"},
        {"account_id": None, "measure": "MAX_POSITION", "venue": "BINANCE", "asset": "BTC"},
    ):
        story.post("limits", **limit, limit=None)


def arm_strategy(story: Story) -> None:
    """A switch of a strategy, to be fired."""
    story.post("dead-man-switches", account_id="main", strategy_id="maker", countdown_ms=60000)


HTTP: tuple[Step, ...] = (
    "open_account", "list_instrument", set_up, "set_limit", lift_limits, "record_marks", "submit_order",
    "replace_order",
    "cancel_all_orders", refuse_cancel, "cancel_order", refuse_cancel, "open_parent", "close_parent",
    "record_transfer", "move_position", "amend_instrument", "patch_instrument", "delist_instrument",
    "redenominate_instrument", trade,
    "settle_contract", "deliver_contract", "assign_lots", "request_cash_transfer", "settle_cash_transfer",
    "return_cash_transfer", "close_account", "set_trading_day", "set_conversion", "state_capital", "assess_marks",
    "set_policy", "arm_dead_man_switch", "fire_dead_man_switch", "engage_kill_switch", "release_kill_switch",
    open_break, "dismiss_break", "forget_subject", "close_figures", "issue_key", "rescope_key", "bound_key",
    "rotate_key", "revoke_key",
)  # fmt: skip
COMMANDS: tuple[Step, ...] = (
    "account open", "instrument add", "limit set", "import-marks", "order submit", "order replace", "order cancel",
    "order cancel-all", "parent open", "parent close", "transfer book", "position move", "instrument amend",
    "instrument delist", "instrument redenominate", "position settle", "position deliver", "lots assign",
    "cash-transfer request", "cash-transfer settle", "cash-transfer return", "account close", "trading-day set",
    "conversion set", "capital state", "risk assess", "policy set", "dead-man-switch arm", "dead-man-switch disarm",
    arm_strategy, "dead-man-switch fire", "kill-switch engage", engage_by_key, "kill-switch release", open_break,
    "break dismiss", "redact", "close", "keys create", "keys rescope", "keys bound", "keys rotate", "keys revoke",
)  # fmt: skip
HTTP_WITH_TWO: tuple[Step, ...] = (
    "set_approval_policy", propose, "approve_proposal", propose, "reject_proposal", "record_venue_reports",
)  # fmt: skip
COMMANDS_WITH_TWO: tuple[Step, ...] = (
    "approval require", propose, "approve", propose, "reject",
)  # fmt: skip
BY_OTHERS = {"release_kill_switch", "approve_proposal"}  # than who engaged or proposed


def words(usage: str, ids: dict[str, str]) -> list[str]:
    """The words of a command, with ids that the story has made."""
    return [ids.get(word, word) for word in shlex.split(usage)]


def path_of(template: str, given: dict[str, Any]) -> str:
    """The path with what it names."""
    return re.sub(r"\{(\w+)\}", lambda match: str(given[match[1]]), template)
