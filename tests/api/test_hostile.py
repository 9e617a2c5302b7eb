"""Hostile values in every parameter and every field of every operation: refused or answered, never a mistake of ours.

The operations are those of the OpenAPI description, so a new one is tested from its first day.
"""

import base64
import copy
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.api.client import BTC, fill, listing, order

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}


def cursor(*key: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


LARGEST = "999999999999999999.999999999999999999"
NUMBERS = ["-2", "0", "1e308", LARGEST, "0." + "0" * 17 + "1", "NaN", str(2**63), str(-(2**63))]
TIMES = ["9999-12-31", "0001-01-01", "9999-12-31T23:59:59-14:00", "2026-13-01"]
TEXTS = ["", "\0", "a\0b", "'", "\ud7ff\ufffd", "A" * 300, "%", "=1+1", "../../etc/passwd", "17:00 ../../etc/passwd"]
VALUES = [*NUMBERS, *TIMES, *TEXTS, f"{BTC}=1e-18", f"{BTC}=999999999999999999", "USDT=USDT"]
KEYS: list[list[Any]] = [
    [2**63], [-(2**63) - 1], [2**63, 2**63], [10**30, 1], ["\0"], ["a", "b", "\0"], ["a"] * 3, ["NaN"] * 6,
    ["9999-12-31", "a", "b", "c", 2**64], ["9999-12-31T23:59:59-14:00"] * 3, [], [[]],
]  # fmt: skip
CURSORS = [cursor(*key) for key in KEYS]
FIELDS = [*VALUES, None, True, -1, 2**63, 10**400, 1.5, [], {}, [[]], "\ud800", 0]
ITEM = {"instrument_id": BTC, "price": "100", "source": "test", "mark_at": "2026-01-02T03:04:05Z", "quality": "LAST"}
BODIES: dict[str, Any] = {
    "/v1/imports": {"id": "1", "timestamp": 1767398400000, "symbol": "BTC/USDT", "side": "buy", "price": "1",
                    "amount": "2", "info": {"commission": "0"}},
    "/v1/accounts": {
        "account_id": "other", "base_currency": "USDT", "owner": {"subject_id": "s-1", "name": "N"}, "venue": "V",
        "is_margin": True,
    },
    "/v1/accounts/{account_id}/close": {"reason": "x"},
    "/v1/instruments": listing(
        instrument_id="X.Y", kind="OPTION", contract_size="0.001", settle="USDT", expiry="2199-01-01T00:00:00Z",
        strike="5", put_or_call="PUT",
    ),
    "/v1/instruments/{instrument_id}": {"tick_size": "0.1", "expiry": None, "effective_at": "2199-01-01T00:00:00Z"},
    "/v1/instruments/{instrument_id}/redenominate": {
        "redenomination_id": "R", "to_instrument_id": "ETHUSDT.SIM", "units": "10", "per": "1", "account_id": "main",
        "fraction_px": "5",
        "effective_at": "2026-01-01T00:00:00Z",
    },
    "/v1/instruments/{instrument_id}/rename": {
        "redenomination_id": "N", "to_instrument_id": "ETHUSDT.SIM", "effective_at": "2026-01-01T00:00:00Z",
    },
    "/v1/assets/{asset}/redenominate": {
        "redenomination_id": "R", "to_asset": "REI", "units": "10", "per": "1", "account_id": "main",
        "successors": ["A.SIM=B.SIM"], "effective_at": "2026-01-01T00:00:00Z",
    },
    "/v1/instruments/{instrument_id}/amend": {"contract_size": "1", "lot_size": "0.1", "strike": "5"},
    "/v1/instruments/{instrument_id}/delist": {"effective_at": "2199-01-01T00:00:00Z", "settlement_px": "5"},
    "/v1/limits": {
        "account_id": "main", "measure": "MAX_POSITION_NOTIONAL", "limit": "5", "currency": "USDT", "strategy_id": "s",
        "instrument_id": BTC, "venue": "BINANCE", "asset": "BTC",
    },
    "/v1/capital": {"account_id": "main", "amount": "1000", "currency": "USDT"},
    "/v1/capital/withdraw": {"account_id": "main"},
    "/v1/orders": order(expire_time="2199-01-01T00:00:00Z", time_in_force="GTD", stop_px="5", display_qty="1"),
    "/v1/orders/{account_id}/{cl_ord_id}/cancel": {"reason": "x", "requested_as": "C-1"},
    "/v1/orders/{account_id}/{cl_ord_id}/replace": {
        "requested_as": "R-1", "order_qty": "2", "price": "99", "stop_px": "5", "peg_offset_value": "1",
        "display_qty": "1", "expire_time": "2199-01-01T00:00:00Z", "orig_cl_ord_id": "A-1",
    },
    "/v1/parents": {
        "account_id": "main", "cl_ord_id": "P-1", "instrument_id": BTC, "side": "BUY", "order_qty": "1", "price": "5",
        "strategy_id": "s",
    },
    "/v1/parents/{account_id}/{cl_ord_id}/close": {"reason": "x"},
    "/v1/positions/move": {
        "account_id": "main", "instrument_id": BTC, "to_account_id": "main", "to_strategy_id": "s",
        "transfer_id": "T-1", "quantity": "0.001", "transact_time": "2026-01-03T03:04:05Z",
    },
    "/v1/positions/settle": {
        "account_id": "main", "instrument_id": BTC, "settlement_id": "S-1", "underlying_px": "5",
        "transact_time": "2026-01-03T03:04:05Z",
    },
    "/v1/positions/deliver": {
        "account_id": "main", "instrument_id": BTC, "delivery_id": "D-1", "to_instrument_id": "ETHUSDT.SIM",
        "quantity": "1", "settlement_px": "5", "is_premium_in_cost": True, "transact_time": "2026-01-03T03:04:05Z",
    },
    "/v1/lots/assign": {
        "account_id": "main", "instrument_id": BTC, "exec_id": "E-1", "lot_ids": ["E-1"], "trade_seq": 1,
        "transact_time": "2026-01-02T03:04:05.678Z",
    },
    "/v1/cash-transfers": {
        "account_id": "main", "transfer_id": "T-1", "amount": {"amount": "1", "currency": "USDT"},
        "fee": {"amount": "1", "currency": "USDT"}, "indicator": "CREDIT", "counter_account_id": "other",
        "counterparty": "x",
    },
    "/v1/cash-transfers/{account_id}/{transfer_id}/settle": {"transact_time": "2026-01-02T03:04:05Z"},
    "/v1/cash-transfers/{account_id}/{transfer_id}/return": {"reason": "x", "transact_time": "2026-01-02T03:04:05Z"},
    "/v1/subjects/{subject_id}/forget": {"reason": "x"},
    "/v1/trading-day": {"account_id": "main", "starts_at_hour": 8},
    "/v1/conversions": {"account_id": "main", "instrument_id": BTC, "is_used": True},
    "/v1/risk/assess": {
        "account_id": "main", "marks": [{"instrument_id": BTC, "price": "100", "mark_at": "2026-01-02T03:04:05Z"}],
        "capital": {"amount": "1", "currency": "USDT"},
    },
    "/v1/orders/cancel-all": {
        "account_id": "main", "strategy_id": "s", "instrument_id": BTC, "symbol": "X", "venue": "V", "side": "BUY",
        "reason": "x",
    },
    "/v1/dead-man-switches": {"account_id": "main", "strategy_id": "s", "countdown_ms": 0, "halts": False},
    "/v1/dead-man-switches/fire": {"account_id": "main", "strategy_id": "s"},
    "/v1/venue-reports": {"reports": [fill()]},
    "/v1/reports": {"reports": [fill()]},
    "/v1/transfers": {
        "account_id": "main", "instrument_id": BTC, "transfer_id": "T-1", "quantity": "1", "cost": "1",
        "transact_time": "2026-01-02T03:04:05Z", "reason": "DEPOSIT",
        "lots": [{"lot_id": "L-1", "quantity": "1", "cost": "1", "opened_at": "2025-01-02T03:04:05Z"}],
    },
    "/v1/marks": {"marks": [{"instrument_id": BTC, "price": "100", "mark_at": "2026-01-02T03:04:05Z"}]},
    "/v1/approval-policy": {"actions": [], "valid_hours": 24, "counts_issuer": False},
    "/v1/approvals/{proposal_id}": {},
    "/v1/approvals/{proposal_id}/reject": {"reason": "x"},
    "/v1/evidence/retry": {
        "account_id": "main", "evidence_ids": ["B-1"], "dates": "day-first", "instruments": {"XY": "X/Y"},
        "assets": {"XBT": "BTC"},
    },
    "/v1/breaks/correct": {"account_id": "main", "break_id": "B-1"},
    "/v1/breaks/dismiss": {"account_id": "main", "break_id": "B-1", "reason": "x"},
    "/v1/closings": {"as_of_seq": 1},
    "/v1/keys": {
        "name": "bot", "scopes": ["read"], "accounts": ["main"], "strategies": ["s"], "read_only": True,
        "expires_at": "2199-01-01T00:00:00Z",
    },
    "/v1/keys/{key_id}/bounds": {"accounts": ["main"], "strategies": ["s"], "expires_at": "2199-01-01T00:00:00Z"},
    "/v1/keys/{key_id}/rotate": {"overlap_seconds": 60},
    "/v1/keys/{key_id}/revoke": {"reason": "x"},
    "/v1/keys/{key_id}/scopes": {"scopes": ["read"]},
    "/v1/kill-switches": {
        "account_id": "main", "strategy_id": "s", "instrument_id": BTC, "venue": "V", "asset": "BTC", "mode": "HALT",
        "reason": "x",
    },
    "/v1/kill-switches/release": {"account_id": "main", "strategy_id": "s", "instrument_id": BTC, "reason": "x"},
    "/v1/policies": {
        "account_id": "main", "policy": "HEDGE", "is_on": True, "reason": "x", "asset": "BTC", "instrument_id": BTC,
        "strategy_id": "hedge", "band": "1", "target": "0", "mode": None, "interval_seconds": None,
    },
    "/v1/policies/{policy}/pause": {"account_id": "firm", "reason": "x", "asset": None},
    "/v1/policies/{policy}/resume": {"account_id": "firm", "reason": "x", "asset": None},
    "/v1/what-if": {
        "method": "FIFO", "fees": [{"instrument_id": BTC, "maker": "0", "taker": "0"}], "marks": [f"{BTC}=5"],
        "limits": [{"account_id": "main", "measure": "MAX_POSITION", "limit": "2"}], "as_of_seq": 1,
    },
}  # fmt: skip
PATHS = {"account_id": "main", "cl_ord_id": "A-1", "instrument_id": BTC, "seq": "1", "asset": "USDT", "report": "pnl",
         "proposal_id": "P1", "key_id": "none", "transfer_id": "T-0", "subject_id": "s-1",
         "policy": "LOSS"}  # fmt: skip
GIVEN = {"account_id": "main", "instrument_id": BTC, "from": "1", "seq": "1", "asset": "USDT", "strategy_id": "main",
         "exec_id": "E-1", "digest": "x", "transfer_id": "T-1", "cl_ord_id": "A-1", "day": "2026-01-02"}  # fmt: skip


@pytest.fixture
def schema(desk: httpx.Client) -> dict[str, Any]:
    desk.post("/v1/orders", json=order())
    desk.post("/v1/venue-reports", json={"reports": [fill()]})
    described: dict[str, Any] = desk.get("/openapi.json").json()
    return described


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation.get("parameters", [])


def plain(path: str, parameters: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Valid parameters: of the path, and those of the query that are required."""
    by_path = {each["name"]: PATHS.get(each["name"], "x") for each in parameters if each["in"] == "path"}
    needed = [each["name"] for each in parameters if each["in"] == "query" and each.get("required")]
    return by_path, {name: GIVEN.get(name, "x") for name in needed}


class Turns:
    """Hands out values for names: all of them for a rare name, a fifth in turn for one that many operations have."""

    def __init__(self, names: Iterable[object]) -> None:
        self._count, self._turn = Counter(names), Counter[object]()

    def of(self, name: object, values: Sequence[Any]) -> Sequence[Any]:
        if self._count[name] < 5:
            return values
        self._turn[name] += 1
        return values[self._turn[name] % 5 :: 5]


def test_no_parameter_makes_a_mistake_of_ours(desk: httpx.Client, schema: dict[str, Any]):
    turns = Turns(each["name"] for _, _, parameters in operations(schema) for each in parameters)
    sent, failed = 0, []
    for method, path, parameters in operations(schema):
        by_path, by_query = plain(path, parameters)
        for each in parameters:
            if each["in"] == "header":
                continue
            for value in turns.of(each["name"], CURSORS if each["name"] == "cursor" else VALUES):
                place = {**by_path, each["name"]: value} if each["in"] == "path" else by_path
                query = by_query if each["in"] == "path" else {**by_query, each["name"]: value}
                url = path.format(**{name: quote(text or "x", safe="") for name, text in place.items()})
                body = BODIES.get(path) if method in ("post", "patch") else None
                answer = desk.request(method, f"{url}?{urlencode(query)}", json=body)
                sent += 1
                if answer.status_code >= 500:
                    failed.append((method, path, each["name"], value, answer.status_code))
    assert not failed, failed
    assert sent > 1000


def test_no_field_makes_a_mistake_of_ours(desk: httpx.Client, schema: dict[str, Any]):
    methods = {path: method for method, path, _ in operations(schema) if method in ("post", "patch")}
    posted = sorted(methods)
    assert posted == sorted(BODIES), "give every operation with a body a valid one here"
    places = [(path, place) for path in posted for place in leaves(BODIES[path])]
    turns, numbers, failed = Turns(place[-1] for _, place in places), count(), []
    for path, place in places:
        for value in turns.of(place[-1], FIELDS):
            body = json.dumps(changed(BODIES[path], place, value, f"H-{next(numbers)}"))
            answer = desk.request(methods[path], path.format(**PATHS), content=body, headers=JSON)
            if answer.status_code >= 500:
                failed.append((path, place, value, answer.status_code))
    assert not failed, failed


def leaves(body: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a body."""
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from leaves(value, (*place, key))


def changed(body: Any, place: tuple[str | int, ...], value: Any, name: str) -> Any:
    """A body with another value in a place, and ids of its own, so that it is not known already."""
    made = copy.deepcopy(body)
    for of in [made, *made.get("reports", [])]:
        of |= {key: name for key in ("cl_ord_id", "exec_id", "transfer_id") if key in of}
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


READS = ("positions", "pnl", "exposure", "risk", "pnl/daily", "equity", "statistics", "balances", "breaks", "lots",
         "matches", "limits", "execution-quality", "journal", "trial-balance", "reports/pnl")  # fmt: skip


@pytest.mark.parametrize("kind", ["LINEAR", "INVERSE"])
@pytest.mark.parametrize("size", [LARGEST, "999999999.999999999", "0.000000000000000001"])
def test_contracts_of_extreme_size_are_refused_or_computed(desk: httpx.Client, size: str, kind: str):
    name, least = "HUGE-PERP.SIM", "0.000000000000000001"
    made = listing(instrument_id=name, kind=kind, contract_size=size, tick_size=least, lot_size=least, base="ETH")
    answers = [desk.post("/v1/instruments", json=made)]
    for measure in ("MAX_POSITION_NOTIONAL", "MAX_GROSS_EXPOSURE", "MAX_LEVERAGE", "MAX_CONCENTRATION", "MAX_POSITION"):
        currency = "USDT" if measure in ("MAX_POSITION_NOTIONAL", "MAX_GROSS_EXPOSURE") else None
        limit = {"account_id": "main", "measure": measure, "limit": LARGEST, "currency": currency}
        answers.append(desk.post("/v1/limits", json=limit))
    for number, price in enumerate((LARGEST, least, "3")):
        terms = {"instrument_id": name, "order_qty": LARGEST, "price": price}
        answers.append(desk.post("/v1/orders", json=order(f"H-{number}", **terms)))
        for side in ("BUY", "SELL"):
            reports = [
                fill(f"H-{number}-{side}", instrument_id=name, last_qty=LARGEST, last_px=price, side=side,
                     cl_ord_id=f"H-{number}"),
                fill(f"P-{number}-{side}", cl_ord_id=f"P-{number}"),
                {"type": "funding", "account_id": "main", "instrument_id": name, "funding_id": f"F-{number}-{side}",
                 "amount": {"amount": LARGEST, "currency": "USDT"}, "transact_time": "2026-01-02T03:04:05Z"},
            ]  # fmt: skip
            answer = desk.post("/v1/venue-reports", json={"reports": reports})
            assert answer.status_code in (200, 207), answer.text
            assert answer.json()["answers"][1]["status"] != "unreadable"
            answers.append(answer)
        moved = BODIES["/v1/transfers"] | {"instrument_id": name, "transfer_id": f"T-{number}", "quantity": LARGEST}
        answers.append(desk.post("/v1/transfers", json=moved | {"cost": price}))
    seq = answer.headers["Daybook-Seq"]
    marks = {"mark": [f"{name}={LARGEST}", f"{BTC}={least}"]}
    answers += [desk.get(f"/v1/{path}", params={"min_seq": seq}) for path in READS]
    answers += [desk.get(f"/v1/{path}", params=marks) for path in ("pnl", "exposure", "risk")]
    what_if = {"method": "LIFO", "marks": [f"{name}={LARGEST}"], "fees": [{"maker": LARGEST, "taker": LARGEST}]}
    answers.append(desk.post("/v1/what-if", json=what_if))
    failed = [(each.url.path, each.text[:300]) for each in answers if each.status_code >= 500]
    assert not failed, failed
    if (size, kind) == (LARGEST, "LINEAR"):
        assert answers[-1].json()["type"] == "urn:daybook:problem:out-of-range"
