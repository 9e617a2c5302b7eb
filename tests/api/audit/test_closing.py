"""`daybook close`, `daybook prove` and their routes: figures sealed so that each can be proved by itself."""

import base64
import json
import os
import random
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from msgspec.structs import replace

from adapters.figures import figure_proofs
from api.audit.closing import closing_request, keep
from api.daybook import Daybook
from domain.errors import LedgerError
from domain.sealed.figures import FiguresTree
from tests import CHECKOUT, rfc6962
from tests.api.client import BTC, fill
from tests.api.command_line import Run, parsed
from tests.scenarios.mutants.mutation import mutated, mutated_json

pytestmark = pytest.mark.slow

TRADES = """seq,trade_id,ts,symbol,side,price,qty,quote_qty,liquidity,fee,fee_currency
1,5001,2026-01-02T10:00:00.000Z,BTCUSDT,BUY,97000,0.5,48500,maker,0,BTC
2,5002,2026-01-02T11:30:00.250Z,BTCUSDT,SELL,98500,0.2,19700,taker,19.7,USDT
3,5003,2026-01-03T12:15:00.500Z,ETHUSDT,BUY,3000,2,6000,taker,0,USDT
4,5004,2026-01-03T12:16:00.500Z,ETHUSDT,SELL,3100,2,6200,taker,6.2,USDT
"""
HELD, FLAT = "BTCUSDT.BINANCE", "ETHUSDT.BINANCE"
OTHER = "position:main:main:X.Y"


@pytest.fixture
def traded(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A book that holds one instrument, is flat in another, and has closed its figures."""
    monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path / "home"))
    (tmp_path / "trades.csv").write_text(TRADES)
    assert run("import", str(tmp_path / "trades.csv"), "--account", "main").returncode == 0
    assert run("close").returncode == 0
    return run


def proof_of(run: Run, path: Path, *args: str) -> Path:
    done = run("prove", *args, "--output", str(path))
    assert done.returncode == 0, done.stderr
    return path


def key_of(run: Run) -> str:
    (key,) = parsed(run("keys", "seal", "show", "--json"))["keys"]
    return str(key["vkey"])


TABLE: list[tuple[tuple[str, ...], str, dict[str, Any] | None]] = [
    (("position", "main", HELD), "stated", {"quantity": "0.3", "realized": "300", "settle": "USDT"}),
    (("position", "main", FLAT), "zero", {"quantity": "0", "realized": "200"}),
    (("position", "main", HELD, "--strategy", "none"), "never existed", None),
    (("position", "aaa", HELD), "never existed", None),
    (("position", "zzz", HELD), "never existed", None),
    (("balance", "main", "USDT", "--venue", "BINANCE"), "stated", {"total": "-28625.9", "held": "0"}),
    (("balance", "main", "ETH", "--venue", "BINANCE"), "zero", {"total": "0"}),
    (("balance", "main", "DOGE", "--venue", "BINANCE"), "never existed", None),
    (("pnl", "2026-01-02", "main", HELD), "stated", {"realized": "300", "fees_settle": "19.7", "net": "280.3"}),
    (("pnl", "2026-01-03", "main", FLAT), "stated", {"net": "193.8", "quantity": "0", "fills": 2}),
    (("pnl", "2026-01-03", "main", HELD), "never existed", None),
]


def test_a_figure_is_proved_offline_with_the_public_key_alone(traded: Run, inside: Run, tmp_path: Path) -> None:
    path, key, kept = tmp_path / "proof", key_of(traded), tmp_path / "kept"
    kept.write_text(traded("checkpoint").stdout)
    for args, answer, value in TABLE:
        proof_of(traded, path, *args)
        shown = parsed(inside("verify", str(path), "--key", key, "--json"))
        assert (shown["is_proved"], shown["answer"]) == (True, answer), args
        assert value is shown["value"] if value is None else value.items() <= shown["value"].items(), args
        out = inside("verify", str(path), "--against", str(kept)).stdout
        assert {"stated": ", as of seq", "zero": "is zero", "never existed": "never existed"}[answer] in out


def test_a_proof_follows_from_the_definitions(traded: Run, tmp_path: Path) -> None:
    proof = json.loads(proof_of(traded, tmp_path / "proof", "position", "main", HELD).read_text())
    figure, closing = proof["figure"], proof["closing"]
    event = json.loads(closing["state"])["event"]
    hashes = [base64.b64decode(each) for each in figure["proof"]]
    leaf = f"{figure['key']}\n{figure['value']}\n".encode()
    assert (
        base64.b64encode(rfc6962.root_by_path(leaf, figure["index"], event["figures"], hashes)).decode()
        == event["root"]
    )
    size, root = proof["checkpoint"].split("\n")[1:3]
    hashes = [base64.b64decode(each) for each in closing["proof"]]
    assert rfc6962.root_by_path(closing["state"].encode(), closing["seq"] - 1, int(size), hashes) == base64.b64decode(
        root
    )


def changes() -> list[tuple[str, Callable[[dict[str, Any]], object]]]:
    return [
        ("another value", lambda p: p["figure"].update(value=p["figure"]["value"].replace("0.3", "3"))),
        ("another key", lambda p: (p.update(key=OTHER), p["figure"].update(key=OTHER))),
        ("only the claim", lambda p: p.update(key="position:other:main:" + HELD)),
        ("another place", lambda p: p["figure"].update(index=p["figure"]["index"] + 1)),
        ("said to be absent", lambda p: p.update(figure=None)),
        ("absent between others", lambda p: p.update(figure=None, before=p["figure"], after=p["figure"])),
        ("another root", lambda p: p["closing"].update(state=p["closing"]["state"].replace("res\":", "res\":1"))),
        ("another seq", lambda p: p["closing"].update(seq=p["closing"]["seq"] - 1)),
        ("another event", lambda p: p["closing"].update(state="{}")),
        ("no signature", lambda p: p.update(checkpoint=p["checkpoint"][:-20] + "\n")),
        ("no keys", lambda p: p.update(keys=[])),
        ("another format", lambda p: p.update(format="daybook-figure-proof/2")),
        ("another ledger", lambda p: p.update(origin="daybook/x")),
    ]  # fmt: skip


def test_a_changed_proof_is_refused_in_a_sentence(traded: Run, inside: Run, tmp_path: Path) -> None:
    path, key = proof_of(traded, tmp_path / "proof", "position", "main", HELD), key_of(traded)
    honest = path.read_text()
    for what, change in changes():
        proof = json.loads(honest)
        change(proof)
        path.write_text(json.dumps(proof))
        done = inside("verify", str(path), "--key", key)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, (what, done)


def test_no_mutant_of_a_proof_shows_another_figure(traded: Run, tmp_path: Path) -> None:
    originals = [
        proof_of(traded, tmp_path / name, *args).read_bytes()
        for name, args in (("a", ("position", "main", HELD)), ("b", ("balance", "main", "DOGE", "--venue", "BINANCE")))
    ]
    path, wrong = tmp_path / "mutant", 0
    honest = {figure_proofs.check(figure_proofs.load(tmp_path / name))[:3].__repr__() for name in ("a", "b")}
    for number in range(600):
        draw = random.Random(number)
        data = draw.choice(originals)
        path.write_bytes(mutated_json(data, draw) if draw.random() < 0.5 else mutated(data, draw))
        try:
            found = figure_proofs.check(figure_proofs.load(path))
        except LedgerError:
            wrong += 1
            continue
        known = found.key in {"position:main:main:" + HELD, "balance:main:BINANCE:DOGE"}
        assert not known or found[:3].__repr__() in honest
        assert known or found.value is None  # another key that is between the same two neighbours
    assert wrong > 300


def test_a_day_that_is_not_closed_is_not_proved(traded: Run, tmp_path: Path) -> None:
    done = traded("prove", "pnl", "2999-01-02", "main", HELD)
    assert done.returncode == 1 and "is not closed" in done.stderr and "daybook close" in done.stderr


def test_a_closing_is_as_of_its_place_and_not_of_what_comes_later(traded: Run, inside: Run, tmp_path: Path) -> None:
    first = parsed(traded("close", "--json"))
    (tmp_path / "more.csv").write_text(TRADES.replace(",500", ",600").replace("2026-01-02", "2026-01-04"))
    assert traded("import", str(tmp_path / "more.csv"), "--account", "main").returncode == 0
    again = parsed(traded("close", "--as-of", str(first["as_of_seq"]), "--json"))
    assert again["root"] == first["root"]
    assert traded("close").returncode == 0
    key = key_of(traded)
    for args, quantity in ((["--as-of", str(first["as_of_seq"])], "0.3"), ([], "0.6")):
        path = proof_of(traded, tmp_path / "proof", "position", "main", HELD, *args)
        assert parsed(inside("verify", str(path), "--key", key, "--json"))["value"]["quantity"] == quantity
    done = traded("close", "--as-of", "1")
    assert done.returncode == 1 and "is before the last closing" in done.stderr


def test_a_figure_that_does_not_follow_from_the_events_is_named(
    traded: Run, inside: Run, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "follows from the events: 1." in traded("verify", "--figures").stdout
    bundle = tmp_path / "bundle"
    assert traded("export", str(bundle)).returncode == 0
    assert "follows from the events: 1." in inside("verify", str(bundle)).stdout
    with Daybook.open(settings) as daybook:
        daybook.runner.catch_up()
        request, tree = closing_request(daybook, None)
        values = {figure.key: figure.value for figure in tree.figures}
        values["position:main:main:" + HELD] = values["position:main:main:" + HELD].replace('"0.3"', '"3"')
        forged = FiguresTree(values)
        forged_request = replace(request, root=forged.root_text())
        daybook.writer.request(forged_request, actor="forger")
        keep(daybook, forged_request, forged)
        daybook.seal()
    for done in (traded("verify", "--figures"), (traded("export", str(bundle)), inside("verify", str(bundle)))[1]):
        assert done.returncode == 1
        assert (
            "figures wrong in 1 of the closings" in done.stderr
            and "position:main:main:BTCUSDT.BINANCE is stated as" in done.stderr
        )
        assert '"quantity":"3"' in done.stderr and '"quantity":"0.3"' in done.stderr
    wrong = json.loads(traded("verify", "--figures", "--json").stdout)["figures"]["wrong"]
    assert wrong[0]["key"] == "position:main:main:" + HELD
    assert json.loads(inside("verify", str(bundle), "--json").stdout)["figures"]["wrong"] == wrong


def test_figures_that_are_not_kept_any_more_are_computed_again(
    traded: Run, inside: Run, database_url: str, tmp_path: Path
) -> None:
    before = proof_of(traded, tmp_path / "one", "position", "main", HELD).read_bytes()
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE ledger.closings SET figures = 'x'")
    assert proof_of(traded, tmp_path / "two", "position", "main", HELD).read_bytes() == before
    with psycopg.connect(database_url) as owner:
        owner.execute("DELETE FROM ledger.closings")
    assert proof_of(traded, tmp_path / "two", "position", "main", HELD).read_bytes() == before
    assert traded("verify", "--figures").returncode == 0


def test_figures_are_closed_and_proved_over_http(
    desk: httpx.Client, client_for: Callable[..., httpx.Client], inside: Run, tmp_path: Path
) -> None:
    reported = desk.post("/v1/venue-reports", json={"reports": [fill("E1")]})
    assert reported.is_success, reported.text
    assert desk.get("/v1/proofs/position", params={"account_id": "main", "instrument_id": BTC}).status_code == 404
    headers = {"Idempotency-Key": "close-1"}
    closed = desk.post("/v1/closings", json={}, headers=headers)
    assert closed.status_code == 201, closed.text
    assert desk.post("/v1/closings", json={}, headers=headers).json() == closed.json()
    again = desk.post("/v1/closings", json={"as_of_seq": closed.json()["as_of_seq"]})
    assert (again.status_code, again.json()["root"]) == (200, closed.json()["root"])
    assert desk.get("/v1/closings").json()["items"] == [closed.json()]
    assert desk.post("/v1/closings", json={"as_of_seq": 10**9}).status_code == 422
    assert client_for("trade", "audit").post("/v1/closings", json={}).status_code == 403
    vkey = desk.get("/v1/proofs/keys").json()["items"][0]["vkey"]
    for path, params, answer in (
        ("position", {"instrument_id": BTC}, "stated"),
        ("position", {"instrument_id": BTC, "strategy_id": "none"}, "never existed"),
        ("balance", {"asset": "USDT", "venue": "BINANCE"}, "stated"),
        ("pnl", {"instrument_id": BTC, "day": "2020-01-02"}, "never existed"),
    ):
        proof = desk.get(f"/v1/proofs/{path}", params={"account_id": "main", **params})
        assert proof.status_code == 200, proof.text
        (tmp_path / "proof").write_bytes(proof.content)
        assert parsed(inside("verify", str(tmp_path / "proof"), "--key", vkey, "--json"))["answer"] == answer


@pytest.mark.skipif(not all(map(shutil.which, ("openssl", "xxd", "jq"))), reason="needs openssl, xxd and jq")
def test_a_figure_is_checked_by_hand_as_the_docs_show(traded: Run, tmp_path: Path) -> None:
    proof_of(traded, tmp_path / "position.json", "position", "main", HELD)
    page = (CHECKOUT / "docs" / "completeness.md").read_text()
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\n" + "\n".join(map(textwrap.dedent, blocks))
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=os.environ | {"KEY": key_of(traded)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    figure, closed, leads_to, root, signed = done.stdout.splitlines()
    assert figure == closed and leads_to == root and "Verified Successfully" in signed
