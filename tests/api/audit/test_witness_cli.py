"""One Daybook witnesses another: `daybook witness` cosigns, `daybook verify --policy` demands it."""

import hashlib
import json
from pathlib import Path

import httpx
import pytest

from adapters.proof import checkpoints
from adapters.proof.witnessing import Witnessing
from api.audit.witnessing import app_of
from api.http.server import configured
from api.settings import Settings
from tests.api.audit.test_cli import Cli, cli, one_sentence
from tests.api.client import ThreadedServer

__all__ = ["cli"]
NAME = "witness.example/w1"


def test_a_daybook_cosigns_the_checkpoints_of_another(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("account", "open", "main")[0] == 0
    vkey = json.loads(cli("keys", "seal", "show", "--json")[1])["keys"][0]["vkey"]
    directory = str(tmp_path / "witness")
    (keys := tmp_path / "logs.vkey").write_text(vkey + "\n")
    code, out, _ = cli("witness", "trust", "--name", NAME, "--directory", directory, str(keys), "--json")
    trusted = json.loads(out)
    assert code == 0 and trusted["new"] == 1 and trusted["trusted"] == [vkey]
    assert json.loads(cli("witness", "trust", "--name", NAME, "--directory", directory, vkey, "--json")[1])["new"] == 0
    witness = Witnessing(tmp_path / "witness", NAME)
    one_sentence(
        cli("witness", "serve", "--name", NAME, "--directory", directory, "--port", "0"), "another process witnesses"
    )
    with ThreadedServer(configured(app_of(witness), Settings(), host="127.0.0.1", port=0)).running() as url:
        monkeypatch.setenv("DAYBOOK_WITNESSES", f"witness+{url}#{trusted['vkey']}")
        (policy := tmp_path / "policy").write_text(f"log {vkey}\nwitness W {trusted['vkey']}\nquorum W\n")
        for account in ("second", "third"):
            assert cli("account", "open", account)[0] == 0
            code, out, err = cli("verify", "--policy", str(policy), "--json")
            assert code == 0 and json.loads(out)["witnessed"]["size"] == json.loads(out)["last"], err
        origin = hashlib.sha256(vkey.split("+")[0].encode()).hexdigest()
        note = checkpoints.parse(httpx.get(f"{url}/{origin}/checkpoint").text)
        assert note.checkpoint.size == json.loads(out)["last"] and len(note.signatures) == 2
        assert httpx.get(f"{url}/{'0' * 64}/checkpoint").status_code == 404
        assert httpx.post(f"{url}/add-checkpoint", content=b"x" * 300_000).status_code == 413
    witness.close()
