"""Signing keys: on record in the log, pinned in a home, and never changed silently by who has only the database."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.proof.sealer import Sealer
from adapters.verify import bundles
from api.cli import run
from api.daybook import Daybook
from api.settings import Settings
from domain.errors import HistoryBroken
from domain.ledger import SIGNING_STREAM, SigningKeyHandedOver, SigningKeyLost, SigningKeyStarted
from tests.adapters.verify.rewriting import WAYS, rewritten
from tests.api.audit.test_cli import TRADES, Cli, Said, one_sentence


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command on the test's database, in a home that may be named: exit code, stdout, stderr."""
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)

    def said(*args: str, home: str = "home") -> Said:
        monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path / home))
        capsys.readouterr()
        code = run(args)
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split()) if "error:" not in err else err

    return said


@pytest.fixture
def book(cli: Cli, tmp_path: Path) -> Path:
    """A ledger with some trades in it, sealed in two steps; a file of its newest checkpoint, as a witness keeps it."""
    trades = tmp_path / "trades.csv"
    trades.write_text(TRADES)
    assert cli("import", str(trades), "--account", "main")[0] == 0
    assert cli("import", str(trades), "--account", "other")[0] == 0
    kept = tmp_path / "kept"
    kept.write_text(cli("checkpoint")[1])
    return kept


def keys(cli: Cli) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(cli("keys", "seal", "show", "--json")[1])["keys"]
    return found


def events(settings: Settings) -> list[object]:
    with Daybook.open(settings) as daybook:
        return [record.event for record in daybook.log.read(SIGNING_STREAM)]


@pytest.mark.parametrize("way", WAYS)
def test_a_history_signed_again_with_a_new_key_is_not_believed(
    cli: Cli, book: Path, database_url: str, tmp_path: Path, way: str
) -> None:
    old = str(keys(cli)[0]["vkey"])
    vkey = tmp_path / "old.vkey"
    vkey.write_text(old + "\n")
    assert cli("verify", home="auditor")[0] == 0
    new = rewritten(database_url, way).public.vkey

    said = cli("verify")  # in the home that has the private key
    one_sentence(said, *([old, new] if way != "renamed" else ["names itself"]))
    one_sentence(cli("verify", home="auditor"), *([old, new] if way != "renamed" else ["names itself"]))
    one_sentence(cli("verify", "--key", old, home="empty"), old, new)
    one_sentence(cli("verify", "--key", str(vkey), home="empty2"), old, new)
    one_sentence(cli("verify", "--against", str(book), home="empty3"), new if way != "renamed" else "another ledger")

    with pytest.raises(HistoryBroken):
        Sealer(database_url, tmp_path / "home").seal()
    settings = Settings(database_url=database_url, home=tmp_path / "home")
    with Daybook.open(settings) as daybook, pytest.raises(HistoryBroken), daybook.sealing():
        pass


@pytest.mark.parametrize("way", WAYS)
def test_a_bundle_of_a_history_signed_again_is_not_believed(
    cli: Cli, book: Path, database_url: str, tmp_path: Path, way: str
) -> None:
    old = str(keys(cli)[0]["vkey"])
    assert cli("keys", "seal", "pin", old, home="auditor")[0] == 0
    new = rewritten(database_url, way).public.vkey
    bundles.export(database_url, bundle := tmp_path / "bundle")
    if way != "renamed":  # a bundle of another ledger is no bundle of this one; it says which ledger it is of
        one_sentence(cli("verify", str(bundle)), old, new)
        one_sentence(cli("verify", str(bundle), home="auditor"), old, new)
    one_sentence(cli("verify", str(bundle), "--key", old, home="empty"), old, new)
    one_sentence(cli("verify", str(bundle), "--against", str(book), home="empty"))
