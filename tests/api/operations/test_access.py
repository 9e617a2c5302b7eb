"""API keys and approvals by their doors: on record, never opened by the table alone, and four eyes end to end."""

import json
import os
import pwd
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import httpx
import psycopg
import pytest
from msgspec.structs import replace

from adapters.postgres.scopes import Scope
from api.clock import now
from api.daybook import Daybook
from domain.ledger import Recorded, schema
from tests.api.client import order
from tests.api.command_line import Run, parsed
from tests.waiting import until

pytestmark = pytest.mark.slow

ClientFor = Callable[..., httpx.Client]
LIMIT = {"account_id": "main", "measure": "MAX_POSITION", "limit": "10"}


def key_of(client: httpx.Client) -> str:
    """The id of a client's key."""
    return client.headers["Authorization"].split("_")[1]


def events(client: httpx.Client, stream: str) -> list[dict[str, Any]]:
    """The records of the streams that begin so."""
    answer = client.get("/v1/events", params={"stream": stream, "limit": 1000})
    return [item["record"] for item in answer.json()["items"]]


def works(server: str, key: str) -> bool:
    """Whether a key opens the door."""
    return httpx.get(f"{server}/v1/positions", headers={"X-API-Key": key}).status_code == 200


def test_a_key_s_life_is_on_record_with_who_did_it_and_without_its_secret(client_for: ClientFor, server: str):
    admin = client_for("admin", "audit", "trade", actor="ada")
    issued = admin.post("/v1/keys", json={"name": "bot", "scopes": ["trade"]})
    assert issued.status_code == 201, issued.text
    key, key_id = issued.json()["key"], issued.json()["key_id"]
    assert works(server, key)
    rescoped = admin.post(f"/v1/keys/{key_id}/scopes", json={"scopes": ["read"]})
    assert (rescoped.status_code, rescoped.json()["scopes"], rescoped.json()["difference"]) == (201, ["read"], "")
    assert admin.post(f"/v1/keys/{key_id}/scopes", json={"scopes": ["read"]}).status_code == 200
    assert admin.post(f"/v1/keys/{key_id}/revoke", json={"reason": "left"}).status_code == 201
    assert admin.post(f"/v1/keys/{key_id}/revoke", json={"reason": "left"}).status_code == 200
    shown = events(admin, f"access:{key_id}")
    assert [record["event"]["type"] for record in shown] == ["KeyIssued", "KeyRescoped", "KeyRevoked"]
    assert {record["actor"] for record in shown} == {"ada"}
    assert all(record["by"] == {"kind": "key", "key_id": key_of(admin), "name": "ada"} for record in shown)
    everything = json.dumps(events(admin, ""))
    assert key.split("_", 2)[2] not in everything
    listed = {one["key_id"]: one for one in admin.get("/v1/keys").json()["keys"]}
    assert listed[key_id]["revoked_at"] and listed[key_of(admin)]["scopes"] == ["admin", "audit", "trade"]


def test_a_key_is_rotated_with_an_overlap_expires_and_shows_its_last_use(client_for: ClientFor, server: str, run: Run):
    admin = client_for("admin", "audit", "trade", actor="ada")
    issued = admin.post("/v1/keys", json={"name": "bot", "read_only": True, "accounts": ["main"]}).json()
    key_id, old = issued["key_id"], issued["key"]
    assert (issued["scopes"], issued["accounts"]) == (["read"], ["main"])
    listed = {one["key_id"]: one for one in admin.get("/v1/keys").json()["keys"]}
    assert listed[key_id]["last_used_at"] is None
    assert works(server, old)
    rotated = admin.post(f"/v1/keys/{key_id}/rotate", json={"overlap_seconds": 60})
    assert rotated.status_code == 201, rotated.text
    new = rotated.json()["key"]
    assert works(server, old) and works(server, new), "for a while both are valid"
    last = parsed(run("keys", "rotate", key_id, "--overlap", "0", "--json"))["key"]
    for former in (new, old):  # the secrets before the last one are over at once, but for what is cached
        until(lambda former=former: not works(server, former))
    assert works(server, last)
    row = next(one for one in admin.get("/v1/keys").json()["keys"] if one["key_id"] == key_id)
    assert row["difference"] == "" and row["last_used_at"].endswith(":00Z"), "to the minute"
    at = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    assert admin.post(f"/v1/keys/{key_id}/bounds", json={"accounts": ["main"], "expires_at": at}).status_code == 201
    assert works(server, last)
    until(lambda: not works(server, last))
    expired = httpx.get(f"{server}/v1/positions", headers={"X-API-Key": last})
    assert expired.json()["type"] == "urn:daybook:problem:key-expired", expired.text
    assert expired.json()["expired_at"] == row_of(admin, key_id)["expires_at"]
    assert parsed(run("keys", "bound", key_id, "--account", "main", "--json"))["is_changed"]
    until(lambda: works(server, last))
    kinds = [record["event"]["type"] for record in events(admin, f"access:{key_id}")]
    assert kinds == ["KeyIssued", "KeyRotated", "KeyRotated", "KeyBounded", "KeyBounded"], "and no event of its use"
    assert parsed(run("verify", "--json"))["api_keys"]["wrong"] == []


def row_of(client: httpx.Client, key_id: str) -> dict[str, Any]:
    """A key as it is listed."""
    return next(one for one in client.get("/v1/keys").json()["keys"] if one["key_id"] == key_id)


def test_a_key_cannot_give_what_it_has_not_and_only_an_admin_gives(client_for: ClientFor):
    admin, trader = client_for("admin", "trade", actor="ada"), client_for("trade")
    body = {"name": "bot", "scopes": ["trade"]}
    assert trader.post("/v1/keys", json=body).status_code == 403
    beyond = admin.post("/v1/keys", json=body | {"scopes": ["trade", "personal"]})
    assert beyond.status_code == 409 and "personal" in beyond.json()["beyond"]
    assert admin.post(f"/v1/keys/{key_of(admin)}/scopes", json={"scopes": ["audit", "admin"]}).status_code == 409
    assert admin.post("/v1/keys", json=body | {"scopes": ["everything"]}).status_code == 422
    assert admin.post("/v1/keys/none/revoke", json={}).status_code == 404


FORGERIES = {
    "inserted": "INSERT INTO access.api_keys VALUES ('{key_id}', sha256('{forged}'), 'mallory', '{{admin}}')",
    "more scopes": "UPDATE access.api_keys SET scopes = '{{admin,trade}}' WHERE key_id = '{key_id}'",
    "another secret": "UPDATE access.api_keys SET key_sha256 = sha256('{forged}') WHERE key_id = '{key_id}'",
    "another name": "UPDATE access.api_keys SET actor = 'ada' WHERE key_id = '{key_id}'",
    "a further secret": "INSERT INTO access.key_secrets (key_sha256, key_id) VALUES (sha256('{forged}'), '{key_id}')",
    "no longer revoked": "UPDATE access.api_keys SET revoked_at = NULL WHERE key_id = '{key_id}'",
}


def test_a_row_that_is_altered_by_sql_opens_nothing_and_is_named(daybook: Daybook, run: Run):
    presented = {name: daybook.keys.issue("bot", [Scope.TRADE]) for name in FORGERIES}
    presented["inserted"] = "dbk_0123456789ab_forged"
    presented["another secret"] = f"dbk_{presented['another secret'].split('_')[1]}_forged"
    presented["a further secret"] = f"dbk_{presented['a further secret'].split('_')[1]}_forged"
    ids = {name: key.split("_")[1] for name, key in presented.items()}
    daybook.keys.rotated(ids["a further secret"], overlap_seconds=60, now=now())
    daybook.keys.revoke(ids["no longer revoked"])
    daybook.seal()
    assert parsed(run("verify", "--json"))["api_keys"]["wrong"] == []
    with psycopg.connect(daybook.url) as superuser:
        for name, statement in FORGERIES.items():
            superuser.execute(statement.format(key_id=ids[name], forged=presented[name]))  # type: ignore[arg-type]
    assert [name for name, key in presented.items() if daybook.keys.verify(key) is not None] == []
    found = run("verify", "--json")
    wrong = {each["key_id"]: each["reason"] for each in json.loads(found.stdout)["api_keys"]["wrong"]}
    assert (found.returncode, wrong.keys()) == (1, set(ids.values()))
    assert "not on record" in wrong[ids["inserted"]] and "admin" in wrong[ids["more scopes"]]
    assert wrong[ids["a further secret"]] == "it has a secret that no event of the log has; it opens nothing"
    refused = run("verify").stderr
    assert "API keys wrong: 6 of 7" in refused and "daybook keys revoke" in refused
    for key_id in ids.values():
        assert run("keys", "revoke", key_id, "--reason", "forged").returncode == 0
    assert run("verify").returncode == 0, "that it was there is on record"
    assert [name for name, key in presented.items() if daybook.keys.verify(key) is not None] == []


def test_a_row_that_is_removed_is_named_and_opens_nothing(daybook: Daybook, run: Run):
    key = daybook.keys.issue("bot", [Scope.TRADE])
    daybook.seal()
    with psycopg.connect(daybook.url) as superuser:
        superuser.execute("DELETE FROM access.api_keys")
    assert daybook.keys.verify(key) is None
    assert parsed(run("verify", "--json"))["api_keys"]["without_row"] == [key.split("_")[1]]


def test_the_command_line_records_the_account_and_keeps_a_claim_a_claim(book: Run, monkeypatch: pytest.MonkeyPatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(variable, 'root") (os:0/root@x')
    done = book("--actor", "b\u00f6b", "limit", "set", "--measure", "MAX_POSITION", "--limit", "5")
    assert done.returncode == 0, done.stderr
    record = parsed(book("log", "--stream", "limit:main", "--json"))["events"][-1]["record"]
    by = record["by"]
    assert record["actor"] == f"os:{by['uid']}/{by['user']}@{by['host']}"
    assert (by["kind"], by["user"]) == ("os", parsed_user())
    claims = {each["source"]: each["name"] for each in by["claims"]}
    assert claims["--actor"] == "b%C3%B6b"
    assert "root" not in re.sub(r'"claims":\[.*?\]', "", json.dumps(record, separators=(",", ":"))) or by["uid"] == 0
    assert all(re.fullmatch(r"[A-Za-z0-9._~%-]+", name) for name in claims.values())


def parsed_user() -> str:
    """The name of this process's account in the database of accounts."""

    return pwd.getpwuid(os.getuid()).pw_name


def test_a_raised_limit_waits_over_http_until_another_key_approves(desk: httpx.Client, client_for: ClientFor):
    carol, dan = client_for("admin", "audit", actor="carol"), client_for("admin", "audit", actor="dan")
    assert carol.post("/v1/limits", json=LIMIT).status_code == 201
    assert carol.post("/v1/approval-policy", json={"actions": ["limit"]}).status_code == 201
    raised = carol.post("/v1/limits", json=LIMIT | {"limit": "20"}, headers={"Idempotency-Key": "raise-1"})
    assert (raised.status_code, raised.json()["status"], raised.json()["action"]) == (202, "PENDING", "limit")
    again = carol.post("/v1/limits", json=LIMIT | {"limit": "20"}, headers={"Idempotency-Key": "raise-1"})
    assert again.content == raised.content
    proposal_id = raised.json()["proposal_id"]
    assert desk.post("/v1/orders", json=order(order_qty="15")).status_code == 409, "no effect yet"
    assert [one["proposal_id"] for one in dan.get("/v1/approvals?status=PENDING").json()["proposals"]] == [proposal_id]
    mine = carol.post(f"/v1/approvals/{proposal_id}")
    assert mine.status_code == 409 and "another person" in mine.json()["rule"]
    twin = client_for("admin", actor="carol")
    assert twin.post(f"/v1/approvals/{proposal_id}").status_code == 409, "two keys under one name"
    assert client_for("trade").post(f"/v1/approvals/{proposal_id}").status_code == 403
    done = dan.post(f"/v1/approvals/{proposal_id}")
    assert (done.status_code, done.json()["status"]) == (201, "APPROVED")
    assert dan.post(f"/v1/approvals/{proposal_id}").status_code == 200
    assert desk.post("/v1/orders", json=order("A-2", order_qty="15")).status_code == 201
    set_ = events(dan, "limit:main")[-2]
    changed = next(one for one in events(dan, "limit:main")[::-1] if one["event"]["type"] == "LimitSet")
    assert (changed["by"]["name"], changed["approved_by"]["name"]) == ("carol", "dan"), set_
    assert changed["cause"] == f"approval:{proposal_id}"


def test_an_admin_key_is_shown_to_who_proposes_it_and_opens_nothing_before_approval(
    client_for: ClientFor, server: str, run: Run
):
    carol, dan = client_for("admin", "audit", actor="carol"), client_for("admin", actor="dan")
    carol.post("/v1/approval-policy", json={"actions": ["key"]})
    proposed = carol.post("/v1/keys", json={"name": "boss", "scopes": ["admin"]})
    assert proposed.status_code == 202
    key, proposal_id = proposed.json()["key"], proposed.json()["proposal_id"]
    assert not works(server, key)
    checked = parsed(run("verify", "--json"))["api_keys"]
    assert (checked["wrong"], checked["proposed"]) == ([], 1)
    assert dan.post(f"/v1/approvals/{proposal_id}").status_code == 201
    assert works(server, key)
    (issued,) = events(carol, f"access:{proposed.json()['key_id']}")
    assert (issued["actor"], issued["approved_by"]["name"]) == ("carol", "dan")
    lesser = carol.post("/v1/keys", json={"name": "eye", "scopes": ["read"]})
    assert lesser.status_code == 201
    wanted = carol.post(f"/v1/keys/{lesser.json()['key_id']}/scopes", json={"scopes": ["admin"]})
    assert wanted.status_code == 202
    assert dan.post(f"/v1/approvals/{wanted.json()['proposal_id']}").status_code == 201
    assert httpx.get(f"{server}/v1/keys", headers={"X-API-Key": lesser.json()["key"]}).status_code == 200


def test_an_admin_key_is_rotated_and_unbounded_by_two(client_for: ClientFor, server: str, run: Run):
    carol, dave = client_for("admin", "audit", actor="carol"), client_for("admin", actor="dave")
    body = {"name": "erin", "scopes": ["admin"], "accounts": ["b", "a"], "strategies": ["t", "s"]}
    issued = carol.post("/v1/keys", json=body).json()
    key_id, old = issued["key_id"], issued["key"]
    assert httpx.get(f"{server}/v1/keys", headers={"X-API-Key": old}).status_code == 403, "a bounded key manages none"
    carol.post("/v1/approval-policy", json={"actions": ["key"]})
    rotated = carol.post(f"/v1/keys/{key_id}/rotate", json={"overlap_seconds": 60})
    assert rotated.status_code == 202, "who rotates a key has its secret"
    new = rotated.json()["key"]
    assert not works(server, new)
    assert carol.post(f"/v1/keys/{key_id}/bounds", json={"accounts": ["a"], "strategies": ["t"]}).status_code == 201
    wider = carol.post(f"/v1/keys/{key_id}/bounds", json={"accounts": ["c", "a"], "strategies": ["t"]})
    assert wider.status_code == 202, wider.text
    for proposal in (rotated, wider):
        approved = dave.post(f"/v1/approvals/{proposal.json()['proposal_id']}")
        assert approved.status_code == 201, approved.text
    path = f"{server}/v1/positions?account_id=c"
    until(lambda: httpx.get(path, headers={"X-API-Key": new}).status_code == 200)
    assert row_of(carol, key_id)["accounts"] == ["a", "c"] and row_of(carol, key_id)["difference"] == ""
    assert run("verify", "--json").returncode == 0, "both had their second person"


def test_a_person_is_forgotten_by_two(desk: httpx.Client, client_for: ClientFor, run: Run):
    carol = client_for("admin", actor="carol")
    opened = run("account", "open", "hers", "--owner", "client-17", "--owner-name", "Ada Lovelace")
    assert opened.returncode == 0, opened.stderr
    assert run("approval", "require", "forget").returncode == 0
    said = run("redact", "client-17")
    assert said.returncode == 0 and "Proposed as P1" in said.stdout
    reader = client_for("personal")
    assert reader.get("/v1/accounts/hers/owner").json()["name"] == "Ada Lovelace"
    assert carol.post("/v1/approvals/P1").status_code == 201
    owner = reader.get("/v1/accounts/hers/owner").json()
    assert (owner["name"], owner["is_forgotten"]) == (None, True)


def test_the_policy_is_turned_off_by_two_and_shown(client_for: ClientFor, run: Run):
    carol = client_for("admin", actor="carol")
    assert parsed(run("approval", "show", "--json")) == {"actions": [], "valid_hours": 24, "counts_issuer": False}
    assert parsed(run("approval", "require", "limit", "key", "--json"))["actions"] == ["key", "limit"]
    off = parsed(run("approval", "off", "--json"))
    assert (off["status"], off["action"]) == ("PENDING", "policy")
    assert run("approve", off["proposal_id"]).returncode == 1, "by who proposed it"
    assert "SetApprovalPolicy: valid_hours 24" in run("approval", "list").stdout
    assert carol.get("/v1/approval-policy").json()["actions"] == ["key", "limit"]
    assert carol.post("/v1/approvals/P1/reject", json={"reason": "we need it"}).status_code == 201
    assert run("approve", "P1").returncode == 1
    second = carol.post("/v1/approval-policy", json={"actions": []})
    assert second.status_code == 202
    assert run("approve", second.json()["proposal_id"]).returncode == 0
    assert parsed(run("approval", "show", "--json"))["actions"] == []


def test_the_kill_switch_has_doors_and_its_release_needs_two_if_required(desk: httpx.Client, client_for: ClientFor):
    carol, dan = client_for("admin", "trade", actor="carol"), client_for("admin", actor="dan")
    stop = {"account_id": "main", "reason": "odd fills"}
    assert client_for("read").post("/v1/kill-switches", json=stop).status_code == 403
    assert carol.post("/v1/kill-switches", json=stop).json()["mode"] == "HALT"
    assert carol.post("/v1/kill-switches", json=stop).status_code == 200
    assert desk.post("/v1/orders", json=order("A-3")).status_code == 409
    listed = dan.get("/v1/kill-switches", params={"account_id": "main"}).json()["switches"]
    assert [(one["mode"], one["engaged_by"]) for one in listed] == [("HALT", "carol")]
    own = carol.post("/v1/kill-switches/release", json=stop)
    assert own.status_code == 409 and "another actor" in own.json()["rule"]
    dan.post("/v1/approval-policy", json={"actions": ["switch"]})
    released = dan.post("/v1/kill-switches/release", json=stop)
    assert released.status_code == 202
    assert desk.post("/v1/orders", json=order("A-4")).status_code == 409
    assert carol.post(f"/v1/approvals/{released.json()['proposal_id']}").status_code == 201
    assert desk.post("/v1/orders", json=order("A-5")).status_code == 201


def test_the_commands_of_keys_and_switches(book: Run, daybook: Daybook):
    made = parsed(book("keys", "create", "bot", "--scope", "report", "--scope", "trade", "--json"))
    assert made["scopes"] == ["record", "trade"]
    assert book("keys", "rescope", made["key_id"], "--scope", "read").returncode == 0
    caller = daybook.keys.verify(made["key"])
    assert caller is not None and caller.scopes == {"read"}
    assert book("keys", "rescope", "none", "--scope", "read").returncode == 1
    assert book("kill-switch", "engage", "--reason", "odd fills").returncode == 0
    assert "HALT" in book("kill-switch", "list", "--account", "main").stdout
    assert "another actor" in book("kill-switch", "release", "--reason", "over").stderr
    assert book("break", "dismiss", "b1", "--reason", "known").returncode == 1


def test_an_action_that_is_written_past_the_policy_is_named_though_it_is_sealed(book: Run, daybook: Daybook):
    assert book("limit", "set", "--measure", "MAX_POSITION", "--limit", "10").returncode == 0
    assert book("approval", "require", "limit").returncode == 0
    assert parsed(book("verify", "--json"))["oversight"]["lapses"] == []
    first = daybook.log.read("limit:main")[-1]
    raised = replace(first, version=first.version + 1, event=replace(first.event, limit=D(1000), version=2))
    with psycopg.connect(daybook.url) as superuser:
        superuser.execute(
            "INSERT INTO ledger.events SELECT %s, %s, %s, %s, max(notification_id) + 1, max(recorded_at) "
            "FROM ledger.events",
            [raised.stream, raised.version, "LimitSet", schema.encode(at_end(daybook, raised))],
        )
    daybook.seal()
    found = book("verify", "--json")
    (lapse,) = json.loads(found.stdout)["oversight"]["lapses"]
    assert (found.returncode, lapse["topic"], lapse["stream"]) == (1, "LimitSet", "limit:main")
    assert "second person" in lapse["reason"] and "second person" in book("verify").stderr


def at_end(daybook: Daybook, record: Recorded) -> Recorded:
    """A record at the time of the last one."""
    head = daybook.log.head().recorded_at
    assert head is not None
    return replace(record, recorded_at=head)
