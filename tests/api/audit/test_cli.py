"""`daybook verify`, `export`, `import`, `checkpoint` and `keys seal`: what they say, and their exit codes."""

import json
import os
import re
import shutil
import subprocess
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from adapters.log import snapshots
from adapters.log.postgres import PostgresLog
from api.cli import run
from domain.ledger import unit_of_work
from tests import CHECKOUT
from tests.databases import url_of_database
from tests.records import record

Said = tuple[int, str, str]
Cli = Callable[..., Said]


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command on the test's database: exit code, stdout, stderr."""
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)
    monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path / "home"))

    def said(*args: str, url: str | None = None) -> Said:
        if url is not None:
            monkeypatch.setenv("DAYBOOK_DATABASE_URL", url)
        capsys.readouterr()
        code = run(args)
        out, err = capsys.readouterr()
        monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)
        return code, out, err

    return said


TRADES = """seq,trade_id,ts,symbol,side,price,qty,quote_qty,liquidity,fee,fee_currency
1,5001,2026-01-02T10:00:00.000Z,BTCUSDT,BUY,97000,0.5,48500,maker,0.0005,BTC
2,5002,2026-01-02T11:30:00.250Z,BTCUSDT,SELL,98500,0.2,19700,taker,19.7,USDT
3,5003,2026-01-02T12:15:00.500Z,BTCUSDT,SELL,96800,0.1,9680,taker,9.68,USDT
"""


@pytest.fixture
def book(cli: Cli, tmp_path: Path) -> Path:
    """A ledger with some trades in it; a file to keep things in."""
    trades = tmp_path / "trades.csv"
    trades.write_text(TRADES)
    assert cli("import", str(trades), "--account", "main")[0] == 0
    assert cli("import", str(trades), "--account", "other")[0] == 0
    return tmp_path / "kept"


def tampered(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        for table in ("events", "tiles", "checkpoints"):
            connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        connection.execute(statement)  # type: ignore[arg-type]


def test_what_a_command_recorded_is_sealed_when_it_ends(cli: Cli, book: Path) -> None:
    code, out, _ = cli("verify", "--json")
    shown = json.loads(out)
    assert code == 0 and shown["is_proved"] and shown["last"] == shown["sealed"] > 10


def test_the_first_wrong_event_is_named(cli: Cli, book: Path, database_url: str) -> None:
    tampered(database_url, "UPDATE ledger.events SET state = state || ' ' WHERE notification_id = 7")
    code, _, err = cli("verify")
    assert code == 1 and "altered at seq 7: its bytes are not those that were sealed" in err
    code, out, _ = cli("verify", "--json")
    assert code == 1 and json.loads(out)["finding"]["seq"] == 7


def test_snapshots_are_verified_when_requested(
    cli: Cli, book: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOT_EVENTS", 2)
    monkeypatch.setattr(unit_of_work, "PAGE_EVENTS", 1)
    code, out, _ = cli("snapshots", "--json")
    assert (code, json.loads(out)["streams"] > 3) == (0, True)
    code, out, _ = cli("verify", "--snapshots", "--json")
    checked = json.loads(out)["snapshots"]["checked"]
    assert (code, checked >= json.loads(out)["snapshots"]["foreign"]) == (0, True)
    assert f"{checked} snapshots equal what their streams fold to" in cli("verify", "--snapshots")[1]
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE ledger.snapshots SET state = state || 'x'")
    assert cli("verify")[0] == 0
    one_sentence(cli("verify", "--snapshots"), "snapshots wrong", "it is a cache")
    code, out, _ = cli("verify", "--snapshots", "--json")
    assert (code, len(json.loads(out)["snapshots"]["wrong"])) == (1, checked)


BOOKING = """
WITH genuine AS (
    SELECT * FROM ledger.events WHERE topic = 'TradeBooked.v3' ORDER BY notification_id DESC LIMIT 1
), head AS (SELECT max(notification_id) AS seq, max(recorded_at) AS at FROM ledger.events)
INSERT INTO ledger.events
SELECT originator_id, originator_version + 1, topic, convert_to(regexp_replace(regexp_replace(
    replace(convert_from(state, 'UTF8'), '"version":' || originator_version, '"version":' || originator_version + 1),
    '"recorded_at":"[^"]*"',
    '"recorded_at":"' || to_char(head.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"'),
    '"last_qty":"[^"]*"', '"last_qty":"1000"'), 'UTF8'),
    head.seq + 1, head.at, NULL
FROM genuine, head
"""  # a booking of 1,000 that no fill leads to


def test_a_booking_without_a_fill_is_named_when_requests_and_reports_are_decided_again(
    cli: Cli, book: Path, database_url: str
) -> None:
    code, out, _ = cli("verify", "--derivation")
    assert code == 0 and "follow from" in out and "decided again" in out
    tampered(database_url, BOOKING)
    assert cli("export", str(book))[0] == 0, "it is sealed like any other event"
    for proves in (("verify",), ("verify", "--snapshots"), ("verify", str(book), "--no-derivation")):
        assert cli(*proves)[0] == 0
    code, out, _ = cli("verify", "--derivation", "--json")
    found = json.loads(out)
    (fault,) = found["derivation"]["faults"]
    assert (code, found["is_proved"], found["derivation"]["is_derived"]) == (1, True, False)
    assert (fault["seq"], fault["topic"], fault["expected"]) == (found["last"], "TradeBooked.v3", None)
    named = f"not derived at seq {found['last']}: TradeBooked.v3 of position:other:main:BTCUSDT.BINANCE"
    one_sentence((1, "", cli("verify", "--derivation")[2]), named, "no request or report")
    one_sentence(cli("verify", str(book)), named)
    code, out, _ = cli("verify", str(book), "--json")
    assert code == 1 and json.loads(out)["derivation"]["faults"] == [fault]


def test_read_models_are_verified_by_themselves(cli: Cli, book: Path) -> None:
    one_sentence(cli("verify", "--projections", "--derivation"), "by itself")


def test_a_kept_checkpoint_proves_that_nothing_was_rewritten(cli: Cli, book: Path) -> None:
    code, note, _ = cli("checkpoint")
    assert code == 0
    book.write_text(note)
    assert cli("account", "open", "later")[0] == 0
    code, out, _ = cli("verify", "--against", str(book))
    assert code == 0 and "Nothing up to seq" in out


def test_a_bundle_is_verified_without_a_database(cli: Cli, book: Path) -> None:
    assert cli("export", str(book))[0] == 0
    code, out, _ = cli("verify", str(book), url="postgresql://unknown@127.0.0.1:1/none")
    assert code == 0 and "every one is proved" in out and "0.1995" in out
    key = out.split("signed by ")[1].split()[0]
    assert cli("verify", str(book), "--key", key)[0] == 0
    code, out, _ = cli("verify", str(book), "--json")
    (held, _) = json.loads(out)["positions"]
    _, now, _ = cli("report", "positions", "--json")
    assert {**held, "seq": 0} == {**json.loads(now)["items"][0], "seq": 0}


def test_an_account_s_bundle_has_that_account_s_figures(cli: Cli, book: Path) -> None:
    assert cli("export", str(book), "--account", "other")[0] == 0
    code, out, _ = cli("verify", str(book), "--json")
    shown = json.loads(out)
    assert code == 0 and [row["account_id"] for row in shown["positions"]] == ["other"]
    assert not shown["is_whole"] and shown["events"] < shown["tree_size"]


def fewer(path: Path, changed: Path, *, without: Callable[[bytes], bool] = lambda _: False, part: str = "") -> Path:
    """An account's bundle without some events, and without a part, its manifest made to fit."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist() if name != part}
    lines = parts["events.jsonl"].splitlines(keepends=True)
    kept = [at for at, line in enumerate(lines) if not without(line)]
    for name in ("events.jsonl", "proofs.jsonl"):
        every = parts[name].splitlines(keepends=True)
        parts[name] = b"".join(every[at] for at in kept)
    parts["manifest.json"] = json.dumps(json.loads(parts["manifest.json"]) | {"events": len(kept)}).encode()
    with zipfile.ZipFile(changed, "w") as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return changed


def test_a_bundle_is_complete_incomplete_or_not_shown_to_be_either(cli: Cli, book: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.note"
    kept.write_text(cli("checkpoint")[1])
    assert cli("export", str(book), "--account", "main")[0] == 0
    for trust in (["--against", str(kept)], []):
        code, out, _ = cli("verify", str(book), *trust)
        assert code == 0 and "Complete: nothing of account main, seq 1 to" in out and "every one is proved" in out

    tampered_ = fewer(book, tmp_path / "tampered", without=lambda line: b'"exec_id":"5002"' in line)
    code, out, err = cli("verify", str(tampered_), "--against", str(kept))
    assert code == 1 and "every one is proved" not in out and "OF THESE EVENTS ONLY" in out
    assert "incomplete" in err and "events of account:main are missing (seq " in err
    code, out, _ = cli("verify", str(tampered_), "--json")
    shown = json.loads(out)
    assert (code, shown["is_proved"], shown["are_events_proved"], shown["positions"]) == (1, False, True, None)
    assert shown["completeness"]["outcome"] == "incomplete" and shown["of_these_events_only"]["positions"]
    assert shown["completeness"]["missing"][0]["group"] == "account:main"

    bare = fewer(book, tmp_path / "bare", part="completeness.json")
    code, out, err = cli("verify", str(bare), "--against", str(kept))
    assert code == 5 and "Completeness not shown: it has no completeness.json" in out and "every one" not in out
    code, out, _ = cli("verify", str(bare), "--json")
    shown = json.loads(out)
    assert (code, shown["is_proved"], shown["positions"]) == (5, False, None)
    assert shown["completeness"]["outcome"] == "completeness not shown"


def test_a_bundle_is_made_for_a_checkpoint_that_was_kept(cli: Cli, book: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.note"
    kept.write_text(cli("checkpoint")[1])
    size = kept.read_text().split("\n")[1]
    assert cli("account", "open", "later")[0] == 0
    assert cli("export", str(book), "--account", "main")[0] == 0
    code, _, err = cli("verify", str(book), "--against", str(kept))
    assert code == 1 and f"--checkpoint {size}" in err
    assert cli("export", str(book), "--account", "main", "--checkpoint", size)[0] == 0
    code, out, _ = cli("verify", str(book), "--against", str(kept))
    assert code == 0 and f"Complete: nothing of account main, seq 1 to {size}" in out
    code, _, err = cli("export", str(book), "--checkpoint", "1")
    assert code == 1 and "no checkpoint of 1 events was signed" in err


def test_a_whole_bundle_restores_an_empty_database(
    cli: Cli, book: Path, server_url: str, database_names: Iterator[str]
) -> None:
    assert cli("export", str(book))[0] == 0
    _, before, _ = cli("verify", "--json")
    name = next(database_names)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            other = url_of_database(server_url, name)
            code, out, _ = cli("import", str(book), url=other)
            assert code == 0 and "are restored" in out
            _, after, _ = cli("verify", "--json", url=other)
            for field in ("ledger_id", "root", "last", "sealed", "vkey"):
                assert json.loads(before)[field] == json.loads(after)[field]
            code, _, err = cli("import", str(book), url=other)
            assert code == 1 and "empty database" in err
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def one_sentence(said: Said, *words: str) -> None:
    """Exit code 1, and what is wrong in one line on stderr."""
    code, _, err = said
    assert code == 1, said
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and all(word in lines[0] for word in words), said
    assert "Traceback" not in err


def test_bad_input_is_refused_in_a_sentence(cli: Cli, book: Path, database_url: str, tmp_path: Path) -> None:
    stranger = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    one_sentence(cli("verify", "--key", stranger), "wrong key", "from its owner")
    assert cli("export", str(book))[0] == 0
    one_sentence(cli("verify", str(book), "--key", stranger), "wrong key", "from its owner")
    one_sentence(cli("verify", "--key", "no key"), "a public key: <name>+<8 hex digits>+<base64>")

    cut = tmp_path / "cut"
    cut.write_bytes(book.read_bytes()[:-100])
    one_sentence(cli("verify", str(cut)), "cut short", "export it again")
    one_sentence(cli("import", str(cut)), "cut short", "export it again")
    with zipfile.ZipFile(book) as whole, zipfile.ZipFile(cut, "w") as fewer:
        for name in whole.namelist():
            content = whole.read(name)
            fewer.writestr(name, content[: content.rindex(b"\n", 0, -1) + 1] if name == "events.jsonl" else content)
    one_sentence(cli("verify", str(cut)), "truncated", "export it again")
    one_sentence(cli("import", str(cut)), "truncated", "export it again")
    one_sentence(cli("import", str(book)), "empty database", "name a new one")

    _, note, _ = cli("checkpoint")
    kept = tmp_path / "checkpoint"
    kept.write_text(note.replace("daybook/", "daybook/0"))
    one_sentence(cli("verify", "--against", str(kept)), "another ledger", "take one of this ledger")
    one_sentence(cli("verify", str(book), "--against", str(kept)), "another ledger", "those of one ledger")
    forged = note.replace(note.split(" ")[-1][:12], note.split(" ")[-1][:10] + "AA")
    kept.write_text(forged)
    one_sentence(cli("verify", "--against", str(kept)), "wrong key", "forged")
    one_sentence(cli("verify", str(book), "--against", str(kept)), "wrong key", "from their owner")
    kept.write_text("nothing of the kind\n")
    one_sentence(cli("verify", "--against", str(kept)), "checkpoint")
    kept.write_text("")
    one_sentence(cli("verify", "--against", str(kept)), "none")

    assert cli("account", "open", "later")[0] == 0
    kept.write_text(cli("checkpoint")[1])
    one_sentence(cli("verify", str(book), "--against", str(kept)), "take a newer one")
    size = int(kept.read_text().split("\n")[1])
    tampered(
        database_url,
        f"DELETE FROM ledger.events WHERE notification_id > {size - 2}; DELETE FROM ledger.checkpoints"
        f" WHERE size > {size - 2}",
    )
    one_sentence(cli("verify", "--against", str(kept)), "truncated", f"{size} events", "a newer one may have them")


def test_a_database_of_a_newer_daybook_is_refused(cli: Cli, book: Path, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE daybook_revision SET version_num = '9999'")
    for args in (
        ["verify"],
        ["status"],
        ["export", str(book)],
        ["keys", "list"],
        ["redact", "x"],
        ["serve", "--port", "0"],
    ):
        one_sentence(cli(*args), "newer Daybook", "use that")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE daybook_revision SET version_num = '0001'")
    code, _, err = cli("verify")
    assert code == 6 and "older Daybook" in err and "daybook upgrade" in err


def test_a_missing_tile_is_named(cli: Cli, tmp_path: Path, database_url: str) -> None:
    assert cli("account", "open", "first")[0] == 0
    with PostgresLog(database_url) as log:
        at = log.head().recorded_at
        log.append([replace(record(f"s{n}", 1), recorded_at=at) for n in range(300)])
    assert cli("account", "open", "last")[0] == 0
    assert cli("verify")[0] == 0
    tampered(database_url, "DELETE FROM ledger.tiles")
    one_sentence(cli("verify"), "tile missing", "seq 1", "put its row back from a backup")
    one_sentence(cli("checkpoint"), "tile missing")
    one_sentence(cli("export", str(tmp_path / "bundle")), "tile missing")
    assert not (tmp_path / "bundle").exists()


def test_a_database_without_a_ledger_is_refused(cli: Cli, server_url: str) -> None:
    one_sentence(cli("verify", url=url_of_database(server_url, "postgres")), "no ledger")


def test_the_key_is_shown_and_changed(cli: Cli, book: Path) -> None:
    code, out, _ = cli("keys", "seal", "show", "--json")
    (old,) = json.loads(out)["keys"]
    assert code == 0 and old["is_here"]
    code, out, _ = cli("keys", "seal", "rotate", "--json")
    assert code == 0 and json.loads(out)["is_vouched_for"]
    assert cli("account", "open", "later")[0] == 0
    assert cli("verify", "--key", old["vkey"])[0] == 0
    assert len(json.loads(cli("keys", "seal", "show", "--json")[1])["keys"]) == 2


def test_a_command_whose_key_is_lost_records_and_warns(cli: Cli, book: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "home").rglob("*.pem"):
        path.unlink()
    code, out, err = cli("account", "open", "later")
    assert code == 0 and "is open" in out and "not sealed yet" in err and "rotate --lost" in err
    one_sentence(cli("keys", "seal", "rotate"), "rotate --lost")
    assert cli("keys", "seal", "rotate", "--lost")[0] == 0
    one_sentence(cli("verify"), "does not vouch")
    key = json.loads(cli("keys", "seal", "show", "--json")[1])["keys"][-1]["vkey"]
    assert cli("checkpoint")[0] == 0
    assert cli("verify", "--key", key)[0] == 0


@pytest.mark.skipif(not all(map(shutil.which, ("openssl", "xxd", "unzip"))), reason="needs openssl, xxd and unzip")
def test_a_bundle_is_checked_by_hand_as_the_docs_show(cli: Cli, book: Path, tmp_path: Path) -> None:
    assert cli("export", str(tmp_path / "audit.zip"))[0] == 0
    key = json.loads(cli("keys", "seal", "show", "--json")[1])["keys"][0]["vkey"]
    page = (CHECKOUT / "docs" / "verify.md").read_text()
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\nunzip -q audit.zip -d audit\n" + "\n".join(map(textwrap.dedent, blocks))
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=os.environ | {"KEY": key}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert "Signature Verified Successfully" in done.stdout
    by_hand, kept = done.stdout.split()[-2:]
    assert by_hand == kept
