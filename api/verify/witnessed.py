"""Witness policies in a verification (`daybook verify --policy`), and proofs of one event (C2SP tlog-proof)."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapters.postgres.connections import Connection, Role, connect, reaching
from adapters.proof import cosigned, tiles, tlog_proofs
from adapters.proof.checkpoints import Note, Pin, Tenure
from adapters.proof.policies import Policy, QuorumCheck
from adapters.proof.tiles import Tiles
from adapters.proof.tlog_proofs import TlogProof
from adapters.verify.record_check import record_of
from api.settings import Settings
from api.terminal.output import note, say, warn, write_json
from api.verify import trust
from domain.errors import HistoryBroken, InvalidInput
from domain.sealed import merkle

WAIT_SECONDS_MAX = 5.0  # for cosignatures of the newest checkpoint to arrive
POLL_SECONDS = 0.1


class Witnessed(NamedTuple):
    """A checkpoint that meets a policy."""

    size: int
    check: QuorumCheck

    def as_json(self) -> dict[str, Any]:
        """Return who has cosigned the checkpoint, and when."""
        return {
            "size": self.size,
            "quorum": self.check.quorum,
            "cosigned": [
                {"witness": name, "at": datetime.fromtimestamp(each.time, UTC).isoformat().replace("+00:00", "Z")}
                for name, each in self.check.cosigned.items()
            ],
        }

    def show(self) -> None:
        """Write it for people."""
        names = ", ".join(self.check.cosigned) or "nobody, and the policy wants nobody"
        say(f"The checkpoint of {self.size:,} events meets the policy's quorum: cosigned by {names}.")


def policy_pins(policy: Policy | None, origin: str, chain: Sequence[Tenure]) -> list[Pin]:
    """Return the keys of the chain that a policy lists. Raises HistoryBroken if it lists logs, and none is this one."""
    if policy is None or not policy.origins:
        return []
    source = "a log of the policy"
    listed = [Pin(key, source) for key in policy.keys_of(origin)]
    if not listed:
        raise HistoryBroken(f"wrong ledger: the policy lists no log {origin}; take the policy of this ledger")
    published = {tenure.key for tenure in chain}
    return [pin for pin in listed if pin.key in published] or listed[:1]


def of_database(url: str, policy: Policy, upto: int | None) -> Witnessed:
    """Return the checkpoint of a database that meets the policy and covers its sealed events, up to `upto` if given.

    Waits a few seconds for cosignatures. Raises HistoryBroken if the policy is not met.
    """
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        first = cosigned.newest_checked(connection, policy)
        if first is None or first.check is None:
            raise HistoryBroken("not witnessed: no checkpoint was ever signed; run `daybook serve`")
        wanted = first.size if upto is None else min(first.size, upto)
        while True:
            found = cosigned.newest(connection, policy, at_least=wanted)
            if found is not None and found.check is not None:
                _check_in_tree(connection, found)
                return Witnessed(found.size, found.check)
            if first.check.is_met:  # by a quorum of none
                return Witnessed(first.size, first.check)
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        last = cosigned.newest(connection, policy)
        error = cosigned.shortfall(first.check, first.size)
        if last is None:
            raise error
        raise HistoryBroken(f"{error}. The newest that meets it is of {last.size} events: verify with --to {last.size}")


def _check_in_tree(connection: Connection, found: cosigned.Cosigned) -> None:
    """Check that what was cosigned is the tree that the newest checkpoint was signed of. Raises HistoryBroken."""
    newest = tiles.latest(connection)
    sealed = newest.checkpoint.size if newest else 0
    root = merkle.range_root((0, found.size), Tiles(connection).node_at(sealed))
    if root != tiles.stored_note(found.size, found.text).checkpoint.root:
        raise HistoryBroken(
            f"rewritten: the checkpoint of {found.size} events that witnesses have cosigned is not of this history"
        )


def size_to_export(url: str, policy: Policy) -> int | None:
    """Return the size of the checkpoint that a bundle is to be proved by: the newest that meets the policy, if it comes
    within a few seconds. None with a warning if it does not: the newest is taken then.
    """
    try:
        return of_database(url, policy, None).size
    except HistoryBroken as error:
        warn(f"The bundle has no quorum of cosignatures: {error}")
        return None


def of_note(policy: Policy, found: Note) -> Witnessed:
    """Return what a policy finds of one checkpoint. Raises HistoryBroken if it is not met."""
    check = policy.check(found)
    if not check.is_met:
        raise cosigned.shortfall(check, found.checkpoint.size)
    return Witnessed(found.checkpoint.size, check)


def proof_in(path: Path) -> TlogProof | None:
    """Return the proof in a file; None if it is none. Raises InvalidInput for one that is damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(len(tlog_proofs.FORMAT) + 1)
            if not tlog_proofs.is_proof(head):
                return None
            content = head + file.read(tlog_proofs.FILE_BYTES_MAX)
        return tlog_proofs.parse(content.decode())
    except OSError as error:
        raise InvalidInput("proof", str(path), f"a file that can be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("proof", str(path), "text") from error


def verify_proof(
    proof: TlogProof, given: Sequence[Pin], policy: Policy | None, settings: Settings, *, json: bool
) -> None:
    """Verify a proof offline, and show its event. Raises HistoryBroken, InvalidInput."""
    origin, size = proof.note.checkpoint.origin, proof.note.checkpoint.size
    home = trust.pins_of_home(settings, is_made=False)
    policy_pins(policy, origin, ())
    listed = [] if policy is None else [Pin(key, "a log of the policy") for key in policy.keys_of(origin)]
    pins = listed or [*given, *(home.of(origin) if home else ())]  # a policy that lists logs wants one of them
    signers = [pin for pin in pins if proof.note.is_signed_by(pin.key)]
    witnessed = None if policy is None else of_note(policy, proof.note)
    if not signers:
        _check_unsigned(proof, pins, witnessed)
    state = proof.check()
    record_of(proof.seq, state)
    if json:
        found = {
            "is_proved": True, "seq": proof.seq, "size": size, "origin": origin,
            "trust": trust.Trust(signers).as_json(), "witnessed": witnessed and witnessed.as_json(),
            "record": msgspec.json.decode(state),
        }  # fmt: skip
        write_json(found)
        return
    say(f"Event {proof.seq:,} of {origin} is in the log of {size:,} events that was signed.")
    for pin in signers:
        say(f"Trusted key {pin.key.vkey}: {pin.source}")
    if witnessed is not None:
        witnessed.show()
    say(state.decode())


def _check_unsigned(proof: TlogProof, pins: Sequence[Pin], witnessed: Witnessed | None) -> None:
    """Check that witnesses vouch for a checkpoint that no trusted key has signed: they have verified its signature."""
    origin, size = proof.note.checkpoint.origin, proof.note.checkpoint.size
    if pins:
        raise HistoryBroken(
            f"wrong key: the checkpoint of {size} events is signed by none of the trusted keys, of which one is "
            f"{pins[0].key.vkey} ({pins[0].source}); if the ledger has a newer key, name that with --key"
        )
    if witnessed is None or not witnessed.check.cosigned:
        raise HistoryBroken(
            f"wrong key: no key of {origin} is pinned, so its signature cannot be verified: name the key that its "
            "owner gave you with --key, or a policy with --policy"
        )
    warn("No key of this ledger is pinned: its signature was verified by the witnesses alone")


def show_missing(found: Witnessed, sealed: int) -> None:
    """Remark on sealed events that the witnessed checkpoint does not cover."""
    if found.size < sealed:
        note(f"Events {found.size + 1:,} to {sealed:,} are signed, and not witnessed yet.")
