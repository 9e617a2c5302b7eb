"""Accounts, instruments, orders and events as records, alike for the API and the command line."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from api.read_models.wording import code_of_event, in_words
from domain import account, instrument
from domain.errors.codes import Code
from domain.errors.sentences import code_of
from domain.ledger import Recorded
from domain.order import OrderKey, OrderTerms

if TYPE_CHECKING:
    from adapters.log.postgres import Stored
    from adapters.subject_keys import Read

EVENTS_PAGE_MAX = 1000


def account_record(known: account.Account) -> dict[str, Any]:
    """Return an account: of its owner the subject only, since answers are stored."""
    return {
        "account_id": known.account_id,
        "base_currency": known.base_currency,
        "cost_basis": known.costing.cost_basis,
        "fee_policy": known.costing.fee_policy,
        "money_places": known.costing.money_places,
        "owner": known.owner.subject_id if known.owner else None,
        "venue": known.venue or None,
        "is_margin": known.is_margin,
        "closed_at": known.closed_at,
    }


def owner_record(read: "Read") -> dict[str, Any]:
    """Return an account's owner, for callers with the scope to see it."""
    return {"subject_id": read.subject_id, "name": read.text, "is_forgotten": read.is_forgotten}


def instrument_record(known: instrument.Instrument) -> dict[str, Any]:
    """Return an instrument and its newest facts, which hold from `effective_at` on (None: always)."""
    contract, since = known.contract, known.history[-1].effective_at
    return {
        "instrument_id": known.instrument_id,
        "kind": contract.kind,
        "base": contract.base,
        "quote": contract.quote,
        "settle": contract.settle,
        "contract_size": contract.contract_size,
        "tick_size": known.tick_size,
        "lot_size": known.lot_size,
        "expiry": contract.expiry,
        "strike": contract.strike,
        "put_or_call": contract.put_or_call,
        "exercise_style": contract.exercise_style if contract.put_or_call is not None else None,
        "effective_at": since if len(known.history) > 1 else None,
        "delisted_at": known.delisted_at,
    }


def order_record(key: OrderKey, first: Recorded) -> dict[str, Any]:
    """Return an order as it was submitted, by its first record: its terms, and when. It never changes."""
    terms: OrderTerms = first.event.terms
    transact_time: datetime = first.event.transact_time
    return {
        "account_id": key.account_id,
        "cl_ord_id": key.cl_ord_id,
        **{field: getattr(terms, field) for field in terms.__struct_fields__},
        "position_side": terms.leg,
        "transact_time": transact_time,
        "recorded_at": first.recorded_at,
        "actor": first.actor,
    }


OWN_CODES = {"UNREADABLE": Code.UNREADABLE, "RECONCILIATION": Code.RECONCILIATION}  # of kinds of breaks


def coded(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with the code of their `rule`."""
    return [{**row, "code": OWN_CODES.get(row.get("kind", "")) or code_of(row["rule"])} for row in rows]


def event_record(stored: "Stored") -> dict[str, Any]:
    """Return an event: as it is stored, and decoded."""
    record = msgspec.json.decode(stored.state)
    return {
        "seq": stored.seq,
        "stream": stored.stream,
        "version": stored.version,
        "topic": stored.topic,
        "recorded_at": stored.recorded_at,
        "actor": record["actor"],
        "request_id": record["request_id"],
        "cause": record.get("cause", ""),
        "summary": in_words(stored.topic, record["event"]),
        "code": code_of_event(record["event"]),
        "sha256": hashlib.sha256(stored.state).hexdigest(),
        "state": stored.state.decode(),
        "record": record,
    }
