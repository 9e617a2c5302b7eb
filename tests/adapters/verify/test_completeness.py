"""Completeness of bundles: without the private key no one can leave an event out and have it called complete."""

import base64
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role, connect
from adapters.proof import checkpoints, groups
from adapters.proof.checkpoints import Checkpoint
from adapters.proof.sealer import Sealer
from adapters.verify import bundles
from adapters.verify.bundles import Proved, Selection
from adapters.verify.completeness import Completeness, Outcome
from domain.errors import HistoryBroken, LedgerError, RequestRefused
from domain.ledger import Recorded
from domain.sealed.groups import GroupMap, entries_of, entry, group_of, seq_of, subtrees_between
from domain.sealed.merkle import Frontier, leaf_hash
from tests import rfc6962
from tests.adapters.verify.stranger import key_of
from tests.databases import new_database
from tests.records import record

pytestmark = pytest.mark.slow

SIZES = (3, 1, 40, 300, 260, 500, 77, 600)  # of the checkpoints: runs within a tile, over tiles, and of several
EVENTS = sum(SIZES)


class Sealed:
    """A sealed log: its URL, its events, and a folder for its bundles."""

    def __init__(self, url: str, stored: Sequence[Any], folder: Path) -> None:
        self.url = url
        self.stored = stored
        self.folder = folder


def stream_of(n: int) -> str:
    """An account in every second event, another seldom, instruments at the beginning, and what is of no account."""
    if n in (2, 5, 700):
        return f"instrument:SIM:X{n}"
    if n % 97 == 0:
        return f"order:rare:A-{n}"
    if n % 5 == 0:
        return ("marks:main:x", "subject:main", "limit:firm", "clock")[n // 5 % 4] + f"-{n}" * (n % 20 != 10)
    return f"order:{'main' if n % 2 else 'other'}:A-{n // 8}"


@pytest.fixture(scope="module")
def ledger(server_url: str, template: str, database_names: Iterator[str], tmp_path_factory: Any) -> Iterator[Sealed]:
    """A sealed log of many checkpoints: its URL and its streams by seq."""
    versions: dict[str, int] = {}
    records: list[Recorded] = []
    for n in range(1, EVENTS + 1):
        stream = stream_of(n)
        versions[stream] = versions.get(stream, 0) + 1
        records.append(record(stream, versions[stream]))
    with new_database(server_url, next(database_names), template) as url, PostgresLog(url) as log:
        sealer, at = Sealer(url, tmp_path_factory.mktemp("home")), 0
        for size in SIZES:
            log.append(records[at : at + size])
            sealer.seal()
            at += size
        yield Sealed(url, log.stored(limit=EVENTS), tmp_path_factory.mktemp("bundles"))


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def exported(ledger: Sealed, selection: Selection) -> Path:
    path = ledger.folder / "-".join(str(each) for each in selection)
    if not path.exists():
        bundles.export(ledger.url, path, selection)
    return Path(path)


def proved(path: Path, **trusted: Any) -> Proved:
    with bundles.opened(path) as bundle:
        return bundle.prove(**trusted)


def shown(path: Path, **trusted: Any) -> Completeness:
    return proved(path, **trusted).completeness


def manifest_with(parts: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    manifest = json.loads(parts["manifest.json"]) | changes
    return parts | {"manifest.json": json.dumps(manifest).encode()}


def without(parts: dict[str, bytes], dropped_lines: set[int], *, in_lists: bool) -> dict[str, bytes]:
    """The bundle without some of its events, and everything else made again to fit, as far as one can without a key."""
    events, proofs = (parts[name].splitlines(keepends=True) for name in ("events.jsonl", "proofs.jsonl"))
    gone = {json.loads(proofs[line])["seq"] for line in dropped_lines}
    kept = [line for line in range(len(events)) if line not in dropped_lines]
    changed = parts | {
        "events.jsonl": b"".join(events[line] for line in kept),
        "proofs.jsonl": b"".join(proofs[line] for line in kept),
    }
    if in_lists and "completeness.json" in parts:
        body = json.loads(parts["completeness.json"])
        for listed in body["groups"]:
            if not (name := listed.get("entries")):
                continue
            entries = [each for each in entries_of(parts[name]) if seq_of(each) not in gone]
            changed[name] = b"".join(entries)
            place = listed.get("skipped", 0) + len(entries)
            listed["head"]["count"] = max(place, listed["head"]["count"] - len(gone))
            subtrees = subtrees_between(place, listed["head"]["count"])
            listed["right"] = (listed.get("right", []) + ["A" * 43 + "="] * len(subtrees))[: len(subtrees)]
        changed["completeness.json"] = json.dumps(body).encode()
    return manifest_with(changed, events=len(kept))


SELECTIONS = [
    Selection("main"),
    Selection("rare"),
    Selection("main", 1, 300),
    Selection("main", 2, EVENTS),
    Selection("main", 260, 1200),
    Selection("other", 5, 5 + 256),
    Selection("rare", 98, 195),
    Selection("rare", 97, 97),
    Selection("rare", 1164, EVENTS),
    Selection(None, 5, 90),
    Selection(None, 1, EVENTS - 1),
]


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("size", [None, EVENTS - SIZES[-1]])
def test_an_honest_bundle_is_complete_by_the_newest_checkpoint_and_by_an_older_one(
    ledger: Sealed, selection: Selection, size: int | None
) -> None:
    try:
        path = exported(ledger, selection._replace(size=size))
    except RequestRefused:
        return  # it has no events there
    assert shown(path) == Completeness(Outcome.COMPLETE)


def test_the_whole_ledger_is_complete(ledger: Sealed) -> None:
    assert shown(exported(ledger, Selection())).outcome is Outcome.COMPLETE


def test_the_map_of_a_checkpoint_is_that_of_the_definition(ledger: Sealed) -> None:
    with connect(ledger.url, Role.AUDITOR) as connection:
        notes = connection.execute("SELECT size, note FROM ledger.checkpoints ORDER BY size").fetchall()
    for size, text in notes:
        by_group: dict[str, list[bytes]] = {}
        for row in ledger.stored[:size]:
            by_group.setdefault(group_of(row.stream), []).append(row.seq.to_bytes(8, "big") + leaf_hash(row.state))
        leaves = [
            f"{name}\n{len(entries)}\n{base64.b64encode(rfc6962.mth(entries)).decode()}\n".encode()
            for name, entries in sorted(by_group.items(), key=lambda each: each[0].encode())
        ]
        stated = groups.stated_by(checkpoints.parse(text))
        assert stated == groups.Stated(1, len(leaves), rfc6962.mth(leaves))


@pytest.mark.parametrize("size", [EVENTS, EVENTS - 600, 344])
def test_any_part_of_a_group_leads_to_its_root(ledger: Sealed, size: int) -> None:
    with connect(ledger.url, Role.AUDITOR) as connection:
        row = connection.execute(bundles.CHECKPOINT, [size]).fetchone()
        assert row is not None
        heads = groups.heads_at(connection, checkpoints.parse(row[0]))
        assert isinstance(heads, GroupMap)
        for place in range(len(heads)):
            head = heads.at(place)
            every = [
                entry(row.seq, leaf_hash(row.state))
                for row in ledger.stored[:size]
                if group_of(row.stream) == head.group
            ]
            for first, upto in ((1, size), (1, 1), (size, size), (size // 3, size // 2), (255, 600), (344, 345)):
                joined = bytearray()
                beside = groups.Cut(connection, head, size).write(joined.extend, first, upto)
                inside = [each for each in every if first <= seq_of(each) <= upto]
                found = entries_of(bytes(joined))
                assert [each for each in found if first <= seq_of(each) <= upto] == inside
                assert found == every[beside.skipped : beside.skipped + len(found)]
                assert beside.skipped == 0 or seq_of(found[0]) < first
                assert beside.skipped + len(found) == head.count or seq_of(found[-1]) > upto
                tree = Frontier(beside.skipped, beside.left)
                for each in found:
                    tree.add(leaf_hash(each))
                for (level, _), node in zip(subtrees_between(tree.size, head.count), beside.right, strict=True):
                    tree.add(node, level)
                assert (tree.size, tree.root()) == (head.count, head.root)


CLAIMS: list[dict[str, Any]] = [
    {}, {"format": "daybook-bundle/1"}, {"account": None}, {"account": "other"}, {"account": "nowhere"}, {"first": 1},
    {"upto": EVENTS}, {"is_whole": True},
]  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    selection=st.sampled_from(SELECTIONS),
    drawn=st.sets(st.integers(0, EVENTS), min_size=1),
    in_lists=st.booleans(),
    is_bare=st.booleans(),
    changes=st.sampled_from(CLAIMS),
)
def test_no_subset_of_a_bundle_is_ever_complete(
    ledger: Sealed, selection: Selection, drawn: set[int], changes: dict[str, Any], *, in_lists: bool, is_bare: bool
) -> None:
    path = exported(ledger, selection)
    parts = parts_of(path)
    lines = len(parts["events.jsonl"].splitlines())
    changed = without(parts, {number % lines for number in drawn}, in_lists=in_lists)
    if is_bare:
        changed.pop("completeness.json", None)
    was = {field: json.loads(changed["manifest.json"])[field] for field in changes}
    try:
        found = proved(zipped(path.with_suffix(".attacked"), manifest_with(changed, **changes)))
    except LedgerError:
        return  # not even its events are proved
    if found.completeness.outcome is Outcome.COMPLETE:  # then of what it claims, which is less than it was, nothing is
        assert was != changes
        assert_all_there(ledger, path.with_suffix(".attacked"), found)


def assert_all_there(ledger: Sealed, path: Path, found: Proved) -> None:
    manifest = found.manifest
    with bundles.opened(path) as bundle:
        there = [line.seq for line in bundle.lines()]
    chosen = {f"account:{manifest.account}", "instruments"}
    assert there == [
        row.seq for row in ledger.stored
        if manifest.first <= row.seq <= manifest.upto
        and (manifest.account is None or group_of(row.stream) in chosen)
    ]  # fmt: skip


def test_what_is_missing_is_named(ledger: Sealed, tmp_path: Path) -> None:
    parts = parts_of(exported(ledger, Selection("main")))
    seqs = [json.loads(line)["seq"] for line in parts["proofs.jsonl"].splitlines()]
    gone = {seqs.index(11), seqs.index(19), seqs.index(21)}
    named = shown(zipped(tmp_path / "x", without(parts, gone, in_lists=False)))
    assert named.outcome is Outcome.INCOMPLETE
    assert [(each.group, each.events, each.seqs) for each in named.missing] == [
        ("account:main", 3, ((11, 11), (19, 19), (21, 21)))
    ]
    assert {gap.stream for gap in named.gaps} == {"order:main:A-1", "order:main:A-2"}
    assert "3 events of account:main are missing (seq 11, 19, 21); order:main:A-1 goes from version" in named.reason
    counted = shown(zipped(tmp_path / "y", without(parts, gone, in_lists=True)))
    assert counted.outcome is not Outcome.COMPLETE
    whole = parts_of(exported(ledger, Selection(None, 5, 90)))
    found = shown(zipped(tmp_path / "z", without(whole, {3, 4, 5, 85}, in_lists=False)))
    assert [each.seqs for each in found.missing] == [((8, 10), (90, 90))]


def test_a_stream_that_is_gone_altogether_is_missed(ledger: Sealed, tmp_path: Path) -> None:
    parts = parts_of(exported(ledger, Selection("rare")))
    seqs = [json.loads(line)["seq"] for line in parts["proofs.jsonl"].splitlines()]
    found = shown(zipped(tmp_path / "x", without(parts, {seqs.index(194)}, in_lists=False)))
    assert (found.outcome, found.missing[0].seqs, found.gaps) == (Outcome.INCOMPLETE, ((194, 194),), ())


def test_completeness_is_not_shown_where_its_evidence_is_gone(ledger: Sealed, tmp_path: Path) -> None:
    parts = parts_of(exported(ledger, Selection("main", 260, 1200)))
    bare = {name: content for name, content in parts.items() if name != "completeness.json"}
    for changed in (bare, manifest_with(bare, format="daybook-bundle/1")):
        found = shown(zipped(tmp_path / "x", changed))
        assert found.outcome is Outcome.NOT_SHOWN and "no completeness.json" in found.reason
    body = json.loads(parts["completeness.json"])
    body["groups"][0]["head"]["count"] -= 1
    found = shown(zipped(tmp_path / "x", parts | {"completeness.json": json.dumps(body).encode()}))
    assert found.outcome is Outcome.NOT_SHOWN and "does not prove account:main" in found.reason
    with pytest.raises(LedgerError, match="damaged"):
        shown(zipped(tmp_path / "x", parts | {"completeness.json": b"{"}))


@pytest.mark.parametrize(
    "change",
    [
        {"account": "other"}, {"account": "nowhere"}, {"account": None}, {"first": 300}, {"upto": 1000}, {"first": 1},
        {"upto": EVENTS}, {"first": 259}, {"first": 200, "upto": 1300}, {"is_whole": True}, {"first": 0},
        {"upto": EVENTS + 1}, {"account": "main:x"}, {"account": ""},
    ],
)  # fmt: skip
def test_another_claim_is_not_complete(ledger: Sealed, tmp_path: Path, change: dict[str, Any]) -> None:
    parts = parts_of(exported(ledger, Selection("main", 260, 1200)))
    path = zipped(tmp_path / "x", manifest_with(parts, **change))
    try:
        found = proved(path)
    except LedgerError:
        return
    if found.completeness.outcome is Outcome.COMPLETE:
        assert_all_there(ledger, path, found)


def test_a_bundle_of_before_is_proved_and_completeness_not_shown(ledger: Sealed, tmp_path: Path) -> None:
    parts = parts_of(exported(ledger, Selection("main")))
    note = checkpoints.parse(parts["checkpoint"].decode())
    lines = tuple(line for line in note.checkpoint.lines if not line.startswith(groups.LINE))
    key = key_of()
    old = Checkpoint(note.checkpoint.origin, note.checkpoint.size, note.checkpoint.root, lines)
    key.public = key.public._replace(name=note.checkpoint.origin)
    keys = [{"vkey": key.public.vkey, "since_size": 0, "handover": None}]
    changed = parts | {"checkpoint": key.sign(old).encode(), "keys.json": json.dumps(keys).encode()}
    path = zipped(tmp_path / "x", manifest_with(changed, vkey=key.public.vkey, format="daybook-bundle/1"))
    found = shown(path)
    assert found.outcome is Outcome.NOT_SHOWN and "states no map" in found.reason
    with pytest.raises(HistoryBroken, match="wrong key"):
        proved(path, against=[note])


def test_another_map_under_the_kept_root_is_named(ledger: Sealed, tmp_path: Path) -> None:
    """Somebody with a key of their own in the chain cannot put another map beside the root that was kept."""
    parts = parts_of(exported(ledger, Selection("main")))
    note = checkpoints.parse(parts["checkpoint"].decode())
    stated = groups.stated_by(note)
    assert stated is not None
    forger = key_of()
    forger.public = forger.public._replace(name=note.checkpoint.origin)
    genuine = json.loads(parts["keys.json"])[0]["vkey"]
    lines = (*note.checkpoint.lines[:1], stated._replace(root=bytes(32)).line())
    at = note.checkpoint
    handover = forger.sign(Checkpoint(at.origin, at.size, at.root, (checkpoints.NEXT_KEY + genuine,)))
    keys = [
        {"vkey": forger.public.vkey, "since_size": 0, "handover": None},
        {"vkey": genuine, "since_size": at.size, "handover": handover},
    ]
    changed = parts | {
        "checkpoint": forger.sign(at._replace(lines=lines)).encode(), "keys.json": json.dumps(keys).encode(),
    }  # fmt: skip
    path = zipped(tmp_path / "x", manifest_with(changed, vkey=forger.public.vkey))
    with pytest.raises(HistoryBroken, match="wrong key"):  # the kept checkpoint pins the key that signed it
        proved(path, against=[note])


@pytest.mark.parametrize(
    ("stream", "group"),
    [
        ("account:main", "account:main"), ("order:main:A:B:C", "account:main"), ("parentorder:main:P", "account:main"),
        ("position:main:trend:BTC/USDT.SIM", "account:main"), ("limit:main", "account:main"),
        ("venueorder:SIM:main:V:1", "account:main"), ("evidence:main:0a", "account:main"),
        ("statement:main:0a", "account:main"), ("limit:firm", "others"), ("evidence::0a", "others"),
        ("instrument:SIM:BTC", "instruments"), ("subject:main", "others"), ("clock", "others"),
        ("access:main:1", "others"), ("marks:main:1", "others"), ("signing:keys", "signing"),
        ("close:main:1", "others"), ("ordering:main:1", "others"), ("", "others"), (":main", "others"),
        ("venueorder:main", "others"),
    ],
)  # fmt: skip
def test_a_stream_is_of_an_account_only_if_its_kind_is(stream: str, group: str) -> None:
    assert group_of(stream) == group
