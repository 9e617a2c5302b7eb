"""Write docs/events.md, the reference of every stored event, from `domain.ledger.schema`: `python docs/events.py`.

The meaning of a field is given once, here, for all events: one word has one meaning. A field without one is an error.
"""

import enum
import inspect
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from domain.ledger import schema

PAGE = Path(__file__).parent / "events.md"

# field: (FIX tag where there is one, meaning and unit)
FIELDS: dict[str, tuple[str, str]] = {
    "about": ("", "what it concerns, in words"),
    "account_id": ("Account(1)", "our account"),
    "action": ("", "the kind of action that needs a second person; absent: the policy itself"),
    "accounts": ("", "the only accounts that it shows and changes; absent: all"),
    "strategies": ("", "the only strategies that it shows and changes; absent: all"),
    "actions": ("", "the actions that need a second person"),
    "approved_by": ("", "who approved it"),
    "band": ("", "how far the delta may be from its target, in base units; of an event, the band of a hedge"),
    "interval_seconds": ("", "how often accounts with limits are monitored without anything that arrives"),
    "age_steps": ("", "how many of the account's own ages it has passed; absent: of the usual ages, see `AGES`"),
    "ages_seconds": ("", "the ages at which an open break is recorded as older"),
    "is_on": ("", "whether the policy acts"),
    "only_tightens": ("", "whether a switch that lets through less already stays as it is"),
    "policy": ("", "the policy that is set, see docs/policies.md"),
    "target": ("", "the delta that a hedge brings back to, base units, signed"),
    "before": ("", "what it was until then"),
    "bounds": ("", "the accounts and strategies it is bounded to, and the time up to which it is valid; absent: none"),
    "overlap_seconds": ("", "how long the secret before is valid too"),
    "previous_until": ("", "up to when the secret before is valid too"),
    "rotated_by": ("", "who requested it, and has seen the new secret; absent: not known"),
    "countdown_ms": ("", "after how many milliseconds without an extension it fires"),
    "counts_issuer": ("", "whether who issued a key counts as its holder"),
    "deadline": ("", "when the countdown passed"),
    "decided": ("", "what the shadow limit would have led to, had it been active; not in effect"),
    "extended_at": ("", "when the countdown was extended last"),
    "halts": ("", "whether a kill switch of the scope is engaged when it fires"),
    "issued_by": ("", "who requested it, and has seen its secret; absent: not known"),
    "claims": ("", "names that were claimed, and where; they prove nothing"),
    "effective_uid": ("", "the effective user id, where it differs from the real one"),
    "expires_at": ("", "until when it may be approved, UTC"),
    "fingerprint": ("", "a hash of the key's id and of the hash of its secret"),
    "host": ("", "the host's name, percent-encoded"),
    "is_used": ("", "whether the instrument is used for conversion"),
    "issued_at": ("", "when it was issued, UTC"),
    "key_id": ("", "the id of an API key: the part after `dbk_`"),
    "login_uid": ("", "the account that logged in, where the kernel knows another than the real one"),
    "login_user": ("", "the name of that account, percent-encoded"),
    "moved_from": ("", "the status that the same limit had until then, and no longer has"),
    "name": ("", "a name, as it was given"),
    "proposal_id": ("", "the id of the proposal"),
    "proposed_by": ("", "who proposed it"),
    "rejected_by": ("", "who rejected it"),
    "request": ("", "the request that waits, in full"),
    "revoked_at": ("", "when it was revoked, UTC; absent: it is valid"),
    "scopes": ("", "what the key may do"),
    "uid": ("", "the real user id of the process"),
    "user": ("", "the name of that user id in the database of accounts, percent-encoded"),
    "valid_hours": ("", "hours within which a proposal may be approved"),
    "valuation": ("", "the price that the notional is at, and which of the order's prices that is"),
    "basis": ("", "of a price or a capital: where it comes from"),
    "equity": ("", "what limits of equity were measured by; absent: no such limit was checked"),
    "stated_at": ("", "when the capital was stated, UTC; absent: it is of the book"),
    "paid_in": ("", "what a capital of the BOOK consists of, by currency"),
    "highs": ("", "the highest gains of scopes that have a limit of drawdown"),
    "actor": ("", "who requested it"),
    "age_ms": ("", "how old the mark was when it was used, milliseconds"),
    "amount": ("", "an amount of money, in the currency beside it"),
    "as_of_seq": ("", "the place in the log up to which events are in the figures"),
    "asked": ("", "usage of the limit with the order, in its unit"),
    "asset": (
        "",
        "the base asset a scope covers, absent: every one; or the one whose delta a hedge keeps",
    ),
    "at": ("", "when it happened at the venue, UTC"),
    "avg_px": ("AvgPx(6)", "average price, quote units a base unit"),
    "balances": ("", "balances as the statement has them; absent if it does not state them"),
    "base": ("", "base currency: what is bought and sold"),
    "base_currency": ("", "the currency an account is reported in"),
    "bought": ("", "what came in a conversion"),
    "booking_date": ("", "ISO 20022 BookgDt: the day it is entered"),
    "break_id": ("", "a break's stable id: the same difference has the same id"),
    "capital": ("", "net deposits of the account, in the currency beside it"),
    "cells": ("", "positions and gains by desk and instrument, at the moment the firm's watch begins"),
    "change": ("", "the change of one account's usage, word for word"),
    "change_id": ("", "the replacement of an order it is about"),
    "changes": ("", "the fields to change; of gains: the change by the time it belongs to"),
    "child": ("", "the ClOrdID of a child order"),
    "closed_before": ("", "the first day, UTC, that had not ended then: the days before it are closed"),
    "cl_ord_id": ("ClOrdID(11)", "our id of the order, unique in its account"),
    "closed": ("", "the lots a disposal used up, in order"),
    "commission": ("Commission(12)", "fee of the fill in its own currency; positive is paid, negative is a rebate"),
    "contract": ("", "the facts that turn quantity and price into money, as of the event's day"),
    "contract_size": (
        "ContractMultiplier(231)",
        "base (linear, option) or quote (inverse) units a contract; 1 for spot",
    ),
    "cost": ("", "signed cost in settlement currency; in an effect or restatement, its change"),
    "cost_basis": ("", "which acquisitions a disposal uses up"),
    "costing": ("", "the account's conventions: cost basis, fee policy, money places"),
    "count": ("", "the number of prices in the batch"),
    "counter_account_id": ("", "our own account on the other side of an internal transfer"),
    "counterparty": ("", "the other side of a transfer"),
    "delivery_id": ("", "the caller's own id of a delivery"),
    "to": ("", "the position that what is delivered goes to"),
    "settlement_px": ("", "the price that a future settles and delivers at"),
    "is_premium_in_cost": ("", "an option's premium is part of the price of what it delivers"),
    "redenomination_id": ("", "the caller's own id of a redenomination"),
    "to_instrument_id": ("", "the instrument that it became"),
    "units": ("", "units of the other instrument"),
    "per": ("", "units of this instrument that they are for"),
    "is_at_cost": ("", "what was sent left at the cost that it had"),
    "cum_cost": ("", "sum of last_qty x last_px, quote units"),
    "cum_qty": ("CumQty(14)", "quantity filled, base units or contracts"),
    "currency": ("Currency(15)", "currency or asset code"),
    "database_at": ("", "the database's clock when ours was confirmed, UTC"),
    "day_from": ("", "start of the trading day, UTC"),
    "display_qty": ("DisplayQty(1138)", "the part of an iceberg order that is shown"),
    "effect": ("", "the effect of a booking on the book, at its time of occurrence"),
    "effective_at": ("", "the time from which it holds, UTC"),
    "entries": ("", "signed changes of balances"),
    "entry_id": ("", "the entry's id"),
    "exec_id": ("ExecID(17)", "the venue's id of the execution or report"),
    "exec_inst": ("ExecInst(18)", "post-only, reduce-only"),
    "exec_ref_id": ("ExecRefID(19)", "the execution that is busted or corrected, or that fees are of"),
    "expire_time": ("ExpireTime(126)", "the time until which a GTD order works, UTC"),
    "expiry": ("MaturityDate(541)", "when a future or option expires, UTC; absent: never"),
    "facts": ("", "the numbers of a decision, as text"),
    "failed": ("", "the limit check that failed; absent if the rule is not a limit"),
    "fee": ("", "the part of a fee that is an expense, in its own currency"),
    "fee_cost": ("", "cost that left the position to pay a base-currency fee, settlement currency"),
    "fee_id": ("", "the fee's id"),
    "fee_policy": ("", "where commissions go"),
    "fields": ("", "the fields that differ"),
    "figures": ("", "the number of figures"),
    "figures_format": ("", "the format of keys, values and leaves: 1"),
    "fills_count": ("", "the number of fills a statement lists"),
    "fills_digest": ("", "SHA-256 over the fills a statement lists"),
    "fills_from": ("", "the time since which a statement lists fills, UTC"),
    "first_at": ("", "the earliest time of a price in the batch, UTC"),
    "first_id": ("", "the id of the first price of the batch in the mark store"),
    "from_seq": ("", "the first event recorded by a clock that was ahead; absent: none was"),
    "found": ("", "the break: both sides, and what differs"),
    "funding_id": ("", "the funding payment's id"),
    "further_commissions": ("NoMiscFees(136)", "fees of the fill beside `commission`; negative is a rebate"),
    "further_fees": ("", "the parts of further commissions that are an expense, each in its own currency"),
    "gain": ("", "gain of a lot match before money rounding, settlement currency; of equity: since deposits"),
    "gains": ("", "realized gain net of fees and with funding, by currency"),
    "half_hour": ("", "the half hour of occurrence, counted from 1970"),
    "held_qty": ("", "what an order still holds of its limits"),
    "high": ("", "highest equity so far, without deposits"),
    "holds": ("", "what working orders hold, at the moment the firm's watch begins"),
    "indicator": ("", "ISO 20022 CdtDbtInd: credit or debit"),
    "instrument_count": ("", "the number of instruments in the batch"),
    "instrument_id": ("Symbol(55)", "SYMBOL.VENUE: the venue's own symbol, our code of the venue"),
    "instruments": ("", "the first instruments of the batch by name, at most 64"),
    "insurance": ("", "of a liquidation: what the insurance fund of its venue took, beside the commissions"),
    "is_corrected": ("", "true where reports recorded with it corrected the break"),
    "is_earlier": ("", "whether the prices were recorded before batches were, at times of their own"),
    "is_late": ("", "whether something later had been booked before"),
    "is_margin": ("", "whether balances may be below zero"),
    "items": ("", "entries whose effect changed: on record before, and now"),
    "judged": ("", "the check of every limit that covers the order"),
    "key": ("", "the key of the order or position"),
    "kind": ("", "its kind"),
    "last_at": ("", "the latest time of a price in the batch, UTC"),
    "last_id": ("", "the id of the last price of the batch in the mark store"),
    "last_px": ("LastPx(31)", "price of the fill, quote units a base unit"),
    "last_qty": ("LastQty(32)", "quantity of the fill, base units or contracts"),
    "late_exec_ids": ("", "the late, reversed or assigned entries that changed the others"),
    "leaves_qty": ("LeavesQty(151)", "quantity that may still be filled"),
    "leg": ("", "one side of a transfer: id, direction, amount"),
    "limit": ("", "the limit's value, in the measure's unit; absent: lifted"),
    "liquidity": ("LastLiquidityInd(851)", "maker or taker"),
    "lot": ("", "the lot in full"),
    "lot_id": ("", "a lot is named by the exec id or transfer that opened it"),
    "lot_ids": ("", "lots a disposal is assigned, in order"),
    "lot_size": ("RoundLot(561)", "quantity step"),
    "lots": ("", "lots carried by a transfer; of a restatement: the changes of open lots"),
    "mark": ("", "the price an order was valued at"),
    "mark_at": ("", "when the mark was observed, UTC"),
    "marks": ("", "every price the decision used, with its age"),
    "measure": ("", "the measure of the limit"),
    "mode": ("", "HALT: no orders. REDUCE_ONLY: only orders that reduce a position. Of a policy: what LOSS engages"),
    "money_places": ("", "decimal places at which realized PnL is booked"),
    "moved": ("", "change of the sums of all entries of a half hour"),
    "notional": ("", "size of the order, quote currency"),
    "now": ("", "its value from now on"),
    "open_orders": ("", "working orders as the statement has them; absent if it does not state them"),
    "opened": ("", "the lots a booking opened"),
    "opened_at": ("", "when it was opened; of a lot: its place of occurrence (time, trade sequence, exec id)"),
    "opened_cost": ("", "cost of the lot when it was opened, settlement currency, signed"),
    "opened_quantity": ("", "quantity of the lot when it was opened, signed"),
    "opening": ("", "its value at the start of the trading day"),
    "ord_status": ("OrdStatus(39)", "the status the venue gave, where it gave one"),
    "ord_type": ("OrdType(40)", "market, limit, stop, ..."),
    "order_id": ("OrderID(37)", "the venue's id of the order"),
    "nanos": ("", "nanoseconds of the time, beyond its microsecond; absent: 0"),
    "known": ("", "a fill as all reports of it together describe it, before any amendment"),
    "on_record": ("", "what was on record under the same identity, where a report contradicts it"),
    "opened_nanos": ("", "nanoseconds of `opened_at`, beyond its microsecond; absent: 0"),
    "order_qty": ("OrderQty(38)", "quantity of the order, base units or contracts"),
    "orig_cl_ord_id": ("OrigClOrdID(41)", "the ClOrdID to be replaced"),
    "ours": ("", "our side of a break; absent where we have none"),
    "owner": ("", "the name of the person the account is kept for; absent: not stated"),
    "parent": ("", "ClOrdID of the parent order; empty: none"),
    "part": ("", "the number of this part, from 1"),
    "parts": ("", "the number of parts"),
    "peg_offset": ("PegOffsetType(836)", "whether a trailing offset is a price or basis points"),
    "peg_offset_value": ("PegOffsetValue(211)", "distance of a trailing stop"),
    "transferred": ("", "of a transfer: its cost, which was not paid, in settlement currency; absent: nothing"),
    "position_side": ("", "the leg of hedge mode, LONG or SHORT; absent: BOTH, of one-way trading"),
    "positions": ("", "positions as the statement has them; absent if it does not state them"),
    "previous_vkey": ("", "the public key that signed before"),
    "price": ("Price(44)", "quote units a base unit"),
    "progress": ("", "the progress of a child order"),
    "put_or_call": ("PutOrCall(201)", "of an option"),
    "exercise_style": ("ExerciseStyle(1194)", "of an option: EUROPEAN at its expiry, AMERICAN at any time"),
    "quantity": ("", "signed quantity, base units or contracts; unsigned where a side is beside it"),
    "quote": ("", "quote currency: what prices are in"),
    "raw": ("", "venue material word for word"),
    "realized": ("", "realized PnL booked at money places, settlement currency"),
    "reason": ("Text(58)", "why"),
    "released": ("", "the part of an order's hold that was released or became position"),
    "report": ("", "the venue's report, word for word"),
    "requested_as": ("", "the ClOrdID of our cancel or replace request"),
    "root": ("", "a Merkle root: of a batch (RFC 6962), hexadecimal; of the sorted tree over all figures, in base64"),
    "rounding": ("", "the rest of realized PnL after money rounding, settlement currency"),
    "rule": ("", "the rule that had to hold"),
    "scope": ("", "the part of an account or firm a limit covers"),
    "sealed": ("", "personal data, encrypted with its subject's key (AES-SIV, base64); see redaction.md"),
    "settle": ("SettlCurrency(120)", "settlement currency: the currency of cost, PnL and funding"),
    "side": ("Side(54)", "BUY or SELL"),
    "since": ("", "the occurrence from which on entries are restated without being named"),
    "since_size": ("", "the key signs checkpoints of more events than this"),
    "sold": ("", "what went in a conversion"),
    "source": ("", "where it was observed or found"),
    "starts_at_hour": ("", "hour of the day, UTC, at which a trading day begins"),
    "statement": ("", "a checkpoint that the previous key signed, and that names the new one"),
    "statement_id": ("", "the statement's id"),
    "status": ("OrdStatus(39)", "the order's status; of a limit DRAFT, SHADOW or ACTIVE, which is the default"),
    "stop_px": ("StopPx(99)", "trigger price, quote units a base unit"),
    "strategy_id": ("", "the strategy, or desk, of an account; absent in a scope: all together"),
    "strike": ("StrikePrice(202)", "quote units a base unit"),
    "subject": ("", "the instrument or asset that the usage is measured of; empty: the whole scope"),
    "subject_id": ("", "a person, by an id that reveals nothing of them"),
    "terms": ("", "the requested terms"),
    "theirs": ("", "the venue's side of a break; absent where it has none"),
    "tick_size": ("MinPriceIncrement(969)", "price step"),
    "time_in_force": ("TimeInForce(59)", "GTC, IOC, FOK, GTD, DAY"),
    "trade_seq": ("", "the venue's own sequence of trades; 0 if it has none"),
    "transact_time": ("TransactTime(60)", "when it happened at the venue, UTC"),
    "transfer_id": ("", "the transfer's id"),
    "trusted_at": ("", "when the event before `from_seq` was recorded, UTC; absent: there is none"),
    "trigger_price": ("TriggerPriceType(1107)", "the price that triggers a stop"),
    "used": ("", "usage of the limit before, in its unit"),
    "value_date": ("", "ISO 20022 ValDt: the day from which it counts"),
    "venue": ("", "our code of the venue"),
    "version": ("", "the number of the limit's setting in its status, or of the switch's, from 1"),
    "vkey": ("", "the public key, as a C2SP vkey"),
    "versions": ("", "the versions of the read models that figures were computed by"),
    "was": ("", "its value on record before"),
}

MODULES = {  # a chapter for each module that holds events
    "instrument": "domain.instrument",
    "account": "domain.account.account",
    "cash": "domain.account.cash",
    "statement": "domain.account.venue_statement",
    "order": "domain.order.events",
    "parentorder": "domain.order.parent",
    "venueorder": "domain.order.venue_ids",
    "position": "domain.position.events",
    "risk": "domain.risk.events",
    "subject": "domain.account.subject",
    "marks": "domain.marks.batches",
    "evidence": "domain.account.evidence",
    "clock": "domain.ledger.clock",
    "keys": "domain.access.keys",
    "approvals": "domain.access.approvals",
    "signing": "domain.ledger.signing",
    "figures": "domain.sealed.figures",
    "policy": "domain.policies.settings",
}
STREAMS = {
    "instrument": "`instrument:{venue}:{symbol}`",
    "account": "`account:{account}`",
    "cash": "`account:{account}`",
    "statement": "`statement:{account}:{digest}`",
    "order": "`order:{account}:{cl_ord_id}`",
    "parentorder": "`parentorder:{account}:{cl_ord_id}`",
    "venueorder": "`venueorder:{venue}:{account}:{order_id}`",
    "position": "`position:{account}:{strategy}:{instrument}`",
    "risk": "`limit:{account}`, `limit:firm`",
    "subject": "`subject:{subject_id}`",
    "marks": "`marks:{source}`, `rates:{source}`; `marks:*` of prices recorded before batches were",
    "evidence": "`evidence:{account}:{digest}`",
    "clock": "`clock`",
    "keys": "`access:{key_id}`",
    "approvals": "`approval:all`",
    "signing": "`signing:keys`",
    "figures": "`figures:closings`",
    "policy": "`policy:{account}`, `policy:firm`",
}


def page() -> str:
    """Return the whole page."""
    events = [*schema.NEWEST]
    chapters = list(dict.fromkeys(_chapter(event) for event in events))
    parts: list[type[Struct]] = []
    lines = [
        "# Events",
        "",
        "Every event ever stored, as registered in `domain/ledger/schema.py`. This page is written by",
        "`python docs/events.py`; a test fails when it is not current.",
        "",
        "A record is one JSON object: `stream`, `version` (from 1 in its stream), `recorded_at` (ours, UTC), `actor`,",
        "`request_id`, and `event`, whose `type` is the topic. Decimals are text, times ISO 8601 in UTC, fields in the",
        "order below. Fields with a default may be left out where the struct allows it. Behind `event` there may be",
        "`cause` (what the request follows from), `by` (the identity behind `actor`) and `approved_by` (the second",
        "person of an action that needs one): see [access.md](access.md).",
    ]
    for chapter in chapters:
        lines += ["", f"## {chapter}", "", f"Streams: {STREAMS[chapter]}"]
        for event in (event for event in events if _chapter(event) == chapter):
            lines += ["", f"### {schema.topic_of_class(event)}", "", _description(event), "", *_table(event, parts)]
    lines += ["", "## Parts of events"]
    for part in sorted(parts, key=lambda part: part.__name__):
        lines += ["", f"### {part.__name__}", "", _description(part), "", *_table(part, [])]
    lines += ["", "## Older shapes", "", "Still read, as the newest shape; see `domain/ledger/upcasts.py`.", ""]
    lines += ["| topic | is read as |", "|---|---|"]
    lines += [f"| `{schema.topic_of_class(old)}` | `{schema.topic_of(_sample(old))}` |" for old in schema.OLDER]
    return "\n".join(lines) + "\n"


def _chapter(event: type[Struct]) -> str:
    return next(chapter for chapter, module in MODULES.items() if module == event.__module__)


def _sample(old: type[Struct]) -> Any:
    golden = Path(__file__).parent.parent / "tests" / "golden" / f"{schema.topic_of_class(old)}.json"
    return schema.decode(schema.topic_of_class(old), golden.read_bytes()).event


def _description(struct: type[Struct]) -> str:
    text = inspect.cleandoc(struct.__doc__ or "")
    if not text or text.startswith(f"{struct.__name__}("):
        raise ValueError(f"{struct.__name__} has no docstring: describe it")
    return text


def _table(struct: type[Struct], parts: list[type[Struct]]) -> list[str]:
    rows = ["| field | type | FIX | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(struct):
        if field.name not in FIELDS:
            raise ValueError(f"{struct.__name__}.{field.name} has no meaning: add it to FIELDS in docs/events.py")
        tag, meaning = FIELDS[field.name]
        rows.append(f"| `{field.encode_name}` | {_type(field.type, parts)} | {tag} | {meaning} |")
    return rows


def _type(kind: Any, parts: list[type[Struct]]) -> str:
    """Return a type in words; structs that are no events are described on their own."""
    if get_origin(kind) in (Union, types.UnionType):
        members = [_type(member, parts) for member in get_args(kind)]
        return " or ".join(dict.fromkeys(text for text in members if text)) if len(members) < 6 else "one of the events"
    if get_args(kind):
        members = [_type(member, parts) for member in get_args(kind) if member is not Ellipsis]
        return f"{'map' if 'apping' in str(kind) or 'dict' in str(kind) else 'list'} of {', '.join(members)}"
    if kind in (type(None), msgspec.UnsetType):
        return "absent"
    if isinstance(kind, type) and issubclass(kind, Struct):
        if kind not in schema.NEWEST:
            _collect(kind, parts)
            return f"[{kind.__name__}](#{kind.__name__.lower()})"
        return f"[{schema.topic_of_class(kind)}](#{schema.topic_of_class(kind).lower().replace('.', '')})"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(str(member.value) for member in kind)
    return {"Decimal": "decimal", "datetime": "time", "str": "text", "int": "integer", "bool": "true or false"}.get(
        kind.__name__, kind.__name__.lower()
    )


def _collect(part: type[Struct], parts: list[type[Struct]]) -> None:
    if part not in parts:
        parts.append(part)
        for field in msgspec.structs.fields(part):
            _type(field.type, parts)


if __name__ == "__main__":
    PAGE.write_text(page())
