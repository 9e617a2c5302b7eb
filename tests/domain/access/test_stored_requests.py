"""Requests in proposals are a stored format: as they were first stored they are read for ever, field by field."""

import json
from typing import get_args

import msgspec
import pytest

from domain.access import GuardedRequest

AT = "2026-01-02T03:04:05.678901Z"
SCOPE = {"strategy_id": "trend", "instrument_id": "BTC.SIM", "venue": None, "asset": None}
MAIN = {"account_id": "main", "transact_time": AT}
STORED = [
    {"type": "SetLimit", "scope": SCOPE, "measure": "MAX_ORDER_NOTIONAL", "limit": "2.5", "currency": "USDT", **MAIN},
    {"type": "SetTradingDay", "starts_at_hour": 7, **MAIN},
    {"type": "SetConversion", "instrument_id": "BTC.SIM", "is_used": False, "contract": None, **MAIN},
    {"type": "StateCapital", "capital": {"amount": "1000.5", "currency": "USDT"}, **MAIN},
    {"type": "EngageSwitch", "scope": SCOPE, "mode": "REDUCE_ONLY", "reason": "why", "actor": "", **MAIN},
    {"type": "ReleaseSwitch", "scope": SCOPE, "reason": "why", "actor": "", **MAIN},
    {"type": "ResolveBreak", "break_id": "b1", "reason": "why", **MAIN},
    {"type": "ForgetSubject", "subject_id": "s1", "reason": "why", "transact_time": AT},
    {
        "type": "IssueKey", "key_id": "k1", "name": "bob", "scopes": ["admin"], "fingerprint": "f",
        "transact_time": AT,
    },
    {"type": "RescopeKey", "key_id": "k1", "scopes": ["admin"], "transact_time": AT},
    {
        "type": "BoundKey", "key_id": "k1", "bounds": {"accounts": ["main"], "strategies": ["trend"], "expires_at": AT},
        "transact_time": AT,
    },
    {"type": "RotateKey", "key_id": "k1", "fingerprint": "f", "overlap_seconds": 60, "transact_time": AT},
    {
        "type": "SetApprovalPolicy", "actions": ["limit"], "valid_hours": 24, "counts_issuer": True,
        "transact_time": AT,
    },
    {
        "type": "SetPolicy", "policy": "HEDGE", "is_on": False, "reason": "why", "mode": None, "interval_seconds": None,
        "band": {"asset": "BTC", "instrument_id": "BTC.SIM", "strategy_id": "hedge", "band": "1", "target": "0"},
        "asset": "BTC", **MAIN,
    },
]  # fmt: skip


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored["type"])
def test_a_stored_request_is_read_and_keeps_every_field(stored):
    request = msgspec.json.decode(json.dumps(stored), type=GuardedRequest)
    again = json.loads(msgspec.json.encode(request))
    assert {name: again[name] for name in stored} == stored


def test_every_request_that_may_be_proposed_is_here():
    assert {stored["type"] for stored in STORED} == {each.__name__ for each in get_args(GuardedRequest)}
