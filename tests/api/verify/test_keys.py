"""Signing keys, witnesses and proofs on the command line and over HTTP: what is trusted, and what is said of it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapters.postgres.scopes import Scope
from adapters.proof import checkpoints, tlog_proofs
from adapters.proof.cosignatures import cosigned_by, witness_key
from adapters.proof.tlog_witness import SCHEME
from adapters.upkeep.supervisor import State
from api.cli import run
from api.daybook import Daybook
from api.operations.http import standing
from api.settings import Settings
from domain.errors import HistoryBroken
from domain.ledger import SIGNING_STREAM
from tests.adapters.proof.witness import TestWitness, serving
from tests.adapters.verify.rewriting import rewritten, signed_again
from tests.api import client as over_http
from tests.api.audit.test_cli import Cli, Said, one_sentence
from tests.api.own_writes import Client
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command on the test's database, in a home that may be named: exit code, stdout, stderr."""
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database_url)

    def said(*args: str, home: str = "home") -> Said:
        monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path / home))
        capsys.readouterr()
        code = run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return said


@pytest.fixture
def kept(cli: Cli, tmp_path: Path) -> Path:
    """A ledger with a few events; a file of its checkpoint, as a witness keeps it."""
    assert cli("account", "open", "main")[0] == 0
    assert cli("account", "open", "other")[0] == 0
    kept = tmp_path / "kept"
    kept.write_text(cli("checkpoint")[1])
    return kept


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def key_of(cli: Cli) -> str:
    """The public key that signs now."""
    return str(json.loads(cli("keys", "seal", "show", "--json")[1])["keys"][-1]["vkey"])


@pytest.mark.parametrize("way", ["beside", "on record", "renamed"])
def test_a_history_signed_again_with_a_new_key_is_refused_by_every_command(
    cli: Cli, kept: Path, database_url: str, tmp_path: Path, way: str
) -> None:
    old = key_of(cli)
    (tmp_path / "old.vkey").write_text(f"# the desk's key\n{old}\n")
    assert cli("verify", home="auditor")[0] == 0
    assert cli("export", str(tmp_path / "before"))[0] == 0
    new = rewritten(database_url, way).public.vkey
    words = (old, new) if way != "renamed" else ("names itself", "keys seal pin")

    one_sentence(cli("verify"), *words)  # in the home that has the private key
    one_sentence(cli("verify", home="auditor"), *words)
    one_sentence(cli("verify", "--key", str(tmp_path / "old.vkey"), home="empty"), old, new)
    one_sentence(cli("verify", "--against", str(kept), home="empty"), new if way != "renamed" else "another ledger")
    one_sentence(cli("export", str(tmp_path / "bundle")), "names itself" if way == "renamed" else new)
    code, _, err = cli("account", "open", "later")
    assert code == 0 and "not sealed yet" in err
    settings = Settings(database_url=database_url, home=tmp_path / "home")
    with Daybook.open(settings) as daybook, pytest.raises(HistoryBroken), daybook.sealing():
        pass  # `daybook serve` does not start


def test_the_key_of_a_database_is_trusted_on_first_use_and_said_so(cli: Cli, kept: Path, tmp_path: Path) -> None:
    vkey = key_of(cli)
    code, out, err = cli("verify", home="new")
    assert code == 0 and "warning: No key was pinned before" in err and vkey in err and "pinned" in err
    pinned = tmp_path / "new" / "keys" / "pinned"
    assert f"pin {vkey} 0" in pinned.read_text() and pinned.stat().st_mode & 0o777 == 0o600
    code, out, err = cli("verify", "--json", home="new")
    trust = json.loads(out)["trust"]
    assert code == 0 and "warning" not in err
    assert trust == {"pinned": [{"vkey": vkey, "source": f"pinned in {pinned}"}], "is_pinned": True, "pinned_now": None}
    code, out, err = cli("verify", "--json", home="other")
    assert json.loads(out)["trust"] == {"pinned": [], "is_pinned": False, "pinned_now": vkey}
    assert "warning: No key was pinned" in err
    (one,) = json.loads(out)["keys"]
    assert (one["recorded_seq"], one["since_size"]) == (json.loads(out)["keys"][0]["recorded_seq"], 0)


def test_a_bundle_pins_nothing_and_says_that_nothing_vouches_for_its_key(cli: Cli, kept: Path, tmp_path: Path) -> None:
    bundle = str(tmp_path / "bundle")
    assert cli("export", bundle)[0] == 0
    for _ in range(2):
        code, out, err = cli("verify", bundle, "--json", home="new")
        assert code == 0 and "warning: No key is pinned" in err and not json.loads(out)["trust"]["is_pinned"]
    assert not (tmp_path / "new").exists()
    assert cli("keys", "seal", "pin", key_of(cli), home="new")[0] == 0
    code, out, err = cli("verify", bundle, home="new")
    assert code == 0 and "warning" not in err and "Trusted key" in out


def test_a_rotation_is_on_record_by_whom_and_a_break_needs_a_pin(
    cli: Cli, kept: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "sealkeeper")
    assert cli("verify", home="auditor")[0] == 0
    assert cli("keys", "seal", "rotate")[0] == 0
    assert cli("verify", home="auditor")[0] == 0  # the pinned key vouches for the new one
    code, _, err = cli("keys", "seal", "rotate", "--lost")
    assert code == 0 and "a break in the chain of keys" in err
    one_sentence(cli("verify", home="auditor"), "does not vouch", "keys seal pin")
    one_sentence(cli("verify"), "does not vouch")  # also here: who lost a key pins the new one knowingly
    with Daybook.open(Settings(database_url=database_url, home=tmp_path / "home")) as daybook:
        records = daybook.log.read(SIGNING_STREAM)
    assert [type(record.event).__name__ for record in records] == [
        "SigningKeyStarted", "SigningKeyHandedOver", "SigningKeyLost",
    ]  # fmt: skip
    assert [record.actor for record in records][1:] == [records[1].actor] * 2 and records[1].actor != records[0].actor
    assert cli("account", "open", "later")[0] == 0  # the desk goes on
    assert cli("keys", "seal", "pin", key_of(cli), home="auditor")[0] == 0
    code, _, err = cli("verify", home="auditor")
    assert code == 0 and "The chain of keys is broken" in err
    shown = json.loads(cli("keys", "seal", "show", "--json", home="auditor")[1])["keys"]
    assert [(row["is_vouched_for"], row["is_pinned"], row["is_here"]) for row in shown] == [
        (None, True, False), (True, False, False), (False, True, False),
    ]  # fmt: skip
    assert all(row["recorded_seq"] for row in shown)


def witnessed(cli: Cli, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TestWitness, Path]:
    """A witness that knows the ledger, and the policy that it must cosign, which the settings name."""
    witness = TestWitness("witness.example/w1")
    witness.trust(key_of(cli))
    url = stack.enter_context(serving(witness))
    policy = tmp_path / "policy"
    policy.write_text(f"log {key_of(cli)}\nwitness W1 {witness.vkey} {url}\nquorum W1\n")
    monkeypatch.setenv("DAYBOOK_WITNESS_POLICY", str(policy))
    return witness, policy


def test_a_policy_demands_its_quorum_of_a_database_a_bundle_and_a_proof(
    cli: Cli, kept: Path, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.verify.witnessed.WAIT_SECONDS_MAX", 0.0)
    witness, policy = witnessed(cli, stack, tmp_path, monkeypatch)
    one_sentence(cli("verify", "--policy", str(policy), home="new"), "not witnessed", "quorum W1", "not by W1")
    assert cli("account", "open", "third")[0] == 0  # sealed and cosigned
    assert witness.answered == [200]
    code, out, _ = cli("verify", "--policy", str(policy), "--json", home="new")
    found = json.loads(out)
    assert code == 0 and found["witnessed"]["size"] == found["sealed"] == found["last"]
    assert [each["witness"] for each in found["witnessed"]["cosigned"]] == ["W1"]
    assert found["trust"]["pinned"] == [{"vkey": key_of(cli), "source": "a log of the policy"}]

    bundle, proof = str(tmp_path / "bundle"), str(tmp_path / "2.tlog-proof")
    assert cli("export", bundle)[0] == 0
    assert cli("proof", "2", "--output", proof)[0] == 0
    for file in (bundle, proof):
        code, out, err = cli("verify", file, "--policy", str(policy), home="empty")
        assert code == 0 and "meets the policy's quorum: cosigned by W1" in out, err
    note = checkpoints.parse(cli("checkpoint", "--cosigned")[1])
    assert len(note.signatures) == 2 and cosigned_by(note, [witness_key(witness.vkey)])

    witness.is_away = True
    monkeypatch.delenv("DAYBOOK_WITNESS_POLICY")
    assert cli("account", "open", "fourth")[0] == 0
    one_sentence(cli("verify", "--policy", str(policy), home="new"), "not witnessed", f"--to {found['sealed']}")
    assert cli("verify", "--policy", str(policy), "--to", str(found["sealed"]), home="new")[0] == 0
    assert cli("export", bundle)[0] == 0
    one_sentence(cli("verify", bundle, "--policy", str(policy), home="new"), "not witnessed", "falls short")
    policy.write_text("quorum W1\n")
    one_sentence(cli("verify", "--policy", str(policy)), "line 1 of the policy", "W1")


def test_a_proof_of_one_event_verifies_by_its_key_alone(
    cli: Cli, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, file = key_of(cli), tmp_path / "1.tlog-proof"
    assert cli("proof", "1", "-o", str(file))[0] == 0
    text = file.read_text()
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra ") and "\nindex 0\n" in text
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "postgresql://unknown@127.0.0.1:1/none")
    code, out, _ = cli("verify", str(file), "--key", old, "--json", home="new")
    assert code == 0 and json.loads(out)["record"]["stream"] and json.loads(out)["seq"] == 1
    assert cli("verify", str(file))[0] == 0  # the home that made the key has pinned it
    one_sentence(cli("verify", str(file), home="new"), "no key", "--key")
    stranger = "daybook/x+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    one_sentence(cli("verify", str(file), "--key", stranger), "key")
    proof = tlog_proofs.parse(text)
    for changed in (
        proof._replace(seq=2), proof._replace(state=proof.state and proof.state + b" "), proof._replace(hashes=()),
    ):  # fmt: skip
        file.write_text(changed.text())
        one_sentence(cli("verify", str(file), "--key", old), "altered at seq")
    file.write_text(text.replace("\nindex 0\n", "\nindex 00\n"))
    one_sentence(cli("verify", str(file), "--key", old), "index")
    file.write_text(text[:-30])
    one_sentence(cli("verify", str(file), "--key", old), "signed note")


def test_cosigned_checkpoints_and_proofs_are_served(
    database_url: str, stack: ExitStack, tmp_path: Path, cli: Cli, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness, policy = witnessed(cli, stack, tmp_path, monkeypatch)
    settings = Settings(database_url=database_url, home=tmp_path / "home", log_level="error")
    daybook = stack.enter_context(Daybook.open(settings))
    headers = {"Authorization": f"Bearer {daybook.keys.issue('auditor', list(Scope))}"}
    url = stack.enter_context(over_http.serving(daybook))
    client = stack.enter_context(Client(base_url=url, headers=headers, timeout=30))
    until(lambda: client.get("/v1/checkpoints/latest/note", params={"cosigned": "true"}).status_code == 200)
    text = client.get("/v1/checkpoints/latest/note", params={"cosigned": "true"}).text
    note = checkpoints.parse(text)
    (cosignature,) = cosigned_by(note, [witness_key(witness.vkey)])
    size = note.checkpoint.size
    (listed,) = client.get("/v1/checkpoints", params={"after": size - 1, "limit": 1}).json()["items"]
    assert listed["note"] == text and text.endswith(cosignature.line)
    proof = client.get("/v1/proofs/tlog", params={"seq": size})
    assert proof.status_code == 200 and proof.headers["content-type"].startswith("text/plain")
    (file := tmp_path / "one.tlog-proof").write_text(proof.text)
    assert cli("verify", str(file), "--policy", str(policy), home="new")[0] == 0
    assert client.get("/v1/proofs/tlog", params={"seq": size + 10_000}).status_code == 422
    (one,) = client.get("/v1/proofs/keys").json()["items"]
    event = client.get(f"/v1/events?after={one['recorded_seq'] - 1}&limit=1").json()["items"][0]
    assert one["vkey"] in event["state"] and json.loads(event["state"])["stream"] == SIGNING_STREAM

    (pem,) = (tmp_path / "home" / "keys").rglob("*.pem")
    signed_again(database_url, pem.read_bytes())  # the owner rewrites history; the witness remembers
    account = {"account_id": "later", "base_currency": "USDT", "cost_basis": "FIFO"}
    client.post("/v1/accounts", json=account)
    until(lambda: any(one.state == State.ALARM for one in daybook.watch.health()))
    until(lambda: client.get("/ready").status_code == 503)
    assert "witness 1" in client.get("/ready").json()["detail"] and standing(daybook).error is None
    assert 'daybook_task_up{task="witness 1"} 0.0' in client.get("/metrics").text
    until(lambda: cli("status", "--json")[0] == 1)
    tasks = json.loads(cli("status", "--json")[1])["tasks"]
    (shown,) = [task for task in tasks if task["task"].startswith("witness 1")]
    assert shown["state"] == "alarm" and "does not continue" in shown["last_error"] and SCHEME in shown["task"]
