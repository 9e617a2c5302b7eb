"""Moves that are no disposal, over HTTP: what is sent leaves at its cost, and a renamed coin keeps lots and ages."""

from typing import Any

import httpx

from tests.api.client import listing

GXS, REI = "GXSUSDT.SIM", "REIUSDT.SIM"


def bought(exec_id: str, quantity: str, price: str, day: str, side: str = "BUY", name: str = GXS) -> dict[str, Any]:
    return {
        "type": "filled", "account_id": "fifo", "cl_ord_id": f"o{exec_id}", "instrument_id": name, "side": side,
        "exec_id": exec_id, "last_qty": quantity, "last_px": price, "commission": {"amount": "0", "currency": "USDT"},
        "transact_time": f"{day}T00:00:00Z",
    }  # fmt: skip


def posted(client: httpx.Client, path: str, status: int = 201, **body: Any) -> httpx.Response:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer


def set_up(client: httpx.Client) -> None:
    posted(client, "accounts", account_id="fifo", base_currency="USDT", cost_basis="FIFO")
    for name in (GXS, REI):
        posted(client, "instruments", **listing(instrument_id=name, base=name[:3]))
    fills = [bought("E1", "600", "1", "2026-01-01"), bought("E2", "400", "2", "2026-02-01")]
    posted(client, "venue-reports", 200, reports=fills)


def shown(client: httpx.Client, what: str, seq: str, **where: str) -> list[dict[str, Any]]:
    found = client.get(f"/v1/{what}", params={"account_id": "fifo", "min_seq": seq, **where})
    assert found.status_code == 200, found.text
    items: list[dict[str, Any]] = found.json()["items"]
    return items


def test_a_redenomination_keeps_cost_lots_and_ages(client: httpx.Client):
    set_up(client)
    query = {"redenomination_id": "R1", "to_instrument_id": REI, "units": "10", "effective_at": "2026-03-01T00:00:00Z"}
    done = posted(client, f"instruments/{GXS}/redenominate", **query)
    assert posted(client, f"instruments/{GXS}/redenominate", 200, **query).json() == done.json()
    sold = posted(client, "venue-reports", 200, reports=[bought("E3", "6000", "0.2", "2026-03-02", "SELL", REI)])
    seq = sold.headers["Daybook-Seq"]
    old, new = (shown(client, "positions", seq, instrument_id=name)[0] for name in (GXS, REI))
    assert (old["quantity"], old["realized"], new["quantity"], new["realized"]) == ("0", "0", "4000", "600")
    (lot,) = shown(client, "lots", seq, instrument_id=REI)
    assert (lot["opened_at"], lot["cost"]) == ("2026-02-01T00:00:00Z", "800")
    totals = client.get(
        "/v1/pnl", params={"account_id": "fifo", "mark": [f"{REI}=0.2", f"{GXS}=1"], "min_seq": seq}
    ).json()["totals"]
    assert totals[0]["net"] == "600"


def test_a_withdrawal_needs_no_cost_and_realizes_nothing_under_any_cost_basis(client: httpx.Client):
    set_up(client)
    sent = {"account_id": "fifo", "instrument_id": GXS, "side": "SELL", "transact_time": "2026-03-01T00:00:00Z"}
    first = posted(client, "transfers", **sent, transfer_id="W1", quantity="700", reason="WITHDRAWAL")
    assert first.json()["cost"] == "-800"
    assert posted(client, "transfers", 200, **sent, transfer_id="W1", quantity="700", reason="WITHDRAWAL").json()
    late = posted(client, "venue-reports", 200, reports=[bought("E0", "100", "3", "2025-12-01")])
    seq = late.headers["Daybook-Seq"]
    for method in ("FIFO", "LIFO", "AVERAGE"):
        (held,) = client.get(
            "/v1/positions", params={"account_id": "fifo", "instrument_id": GXS, "method": method, "min_seq": seq}
        ).json()["items"]
        assert (method, held["quantity"], held["realized"], held["rounding"]) == (method, "400", "0", "0")
    (fifo,) = shown(client, "positions", seq, instrument_id=GXS)
    assert (fifo["cost"], fifo["transferred"]) == ("800", "-900")


def test_a_transfer_that_lacks_its_cost_is_refused_by_field(client: httpx.Client):
    set_up(client)
    moved = {"account_id": "fifo", "instrument_id": GXS, "transfer_id": "T", "quantity": "1"}
    at = {"transact_time": "2026-03-01T00:00:00Z"}
    for more in ({"side": "BUY"}, {"side": "SELL", "reason": "DISPOSAL"}):
        (error,) = posted(client, "transfers", 422, **moved, **more, **at).json()["errors"]
        assert (error["field"], error["value"]) == ("cost", None)
    (error,) = posted(client, "transfers", 422, **moved, **at, side="SELL", reason="NETWORK_FEE", cost="-1").json()[
        "errors"
    ]
    assert error["field"] == "cost"
    in_kind = {
        "type": "withdrawal", "account_id": "fifo", "transfer_id": "W9", "instrument_id": GXS, **at,
        "amount": {"amount": "600", "currency": "GXS"},
    }  # fmt: skip
    answers = posted(client, "venue-reports", 200, reports=[in_kind]).json()["answers"]
    assert answers[0]["status"] == "recorded"
