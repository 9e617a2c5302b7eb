"""Completeness of a bundle: whether it shows that no event of what it claims to be was left out.

A period of the whole ledger is complete if its seqs have no gap. For an account the bundle brings `completeness.json`
and a file of entries for each of its groups, the account's, the instruments' and the signing keys': the group's head
with its proof in the map that the checkpoint states, the group's entries of the period with their neighbours on both
sides, and the trees beside them. The entries lead to the group's root, so the list is the one that was signed; every
event in it must be in the bundle. A group that never had an event is shown to be absent from the map.
"""

import zipfile
from collections.abc import Generator, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Struct

from adapters.postgres.connections import Connection
from adapters.proof import checkpoints, groups
from adapters.proof.checkpoints import Note
from adapters.proof.groups import Stated
from adapters.verify.archive import Archive
from adapters.verify.range_check import UNDECODABLE
from domain.errors import HistoryBroken
from domain.sealed.groups import (
    ENTRY_BYTES,
    INSTRUMENTS,
    RULE,
    SIGNING,
    GroupMap,
    Head,
    group_of_account,
    seq_of,
    subtrees_between,
)
from domain.sealed.merkle import HASH_BYTES, Frontier, leaf_hash
from domain.sealed.sorted_tree import Placed, is_absent

PART = "completeness.json"
PART_BYTES_MAX = 1024 * 1024
PROOF_HASHES_MAX = 64
GROUPS_MAX = 8
RANGES_MAX = 1000  # of missing seqs, and of gaps of streams, that are named

Count = Annotated[int, msgspec.Meta(ge=0, le=checkpoints.SIZE_MAX)]
Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Hashes = Annotated[list[Hash], msgspec.Meta(max_length=PROOF_HASHES_MAX)]


class Outcome(StrEnum):
    """What is shown about the completeness of a bundle: exactly one of three."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    NOT_SHOWN = "completeness not shown"


class Gap(NamedTuple):
    """Versions of a stream that are not in the bundle: those between `after` and `before`, which is at `seq`."""

    stream: str
    after: int
    before: int
    seq: int


class Missing(NamedTuple):
    """Events that are not in the bundle: how many (None: not known), and which seqs, as ranges; of one group, or of the
    whole log (`group` is "").
    """

    group: str
    events: int | None
    seqs: tuple[tuple[int, int], ...] = ()


class Completeness(NamedTuple):
    """The outcome for a bundle, the reason if it is not complete, and what is missing."""

    outcome: Outcome
    reason: str = ""
    missing: tuple[Missing, ...] = ()
    gaps: tuple[Gap, ...] = ()


class Claim(NamedTuple):
    """What a bundle claims to have: an account's events, or all, from `first` to `upto` of a log of `size` events."""

    account: str | None
    first: int
    upto: int
    size: int


class PlacedHead(Struct, frozen=True):
    """A group's head with its place and proof in the map; hashes in base64."""

    group: Annotated[str, msgspec.Meta(max_length=1000)]
    count: Count
    root: Hash
    index: Count
    proof: Hashes

    def placed(self) -> Placed:
        """Return it as a leaf of the map."""
        return Placed(self.group, Head(self.group, self.count, self.root).leaf(), self.index, self.proof)


class Listed(Struct, frozen=True, omit_defaults=True):
    """A group in `completeness.json`: its head and its list of entries; or the two heads it would be between."""

    group: Annotated[str, msgspec.Meta(max_length=1000)]
    head: PlacedHead | None = None
    entries: Annotated[str, msgspec.Meta(max_length=100)] = ""
    skipped: Count = 0
    left: Hashes = []
    right: Annotated[list[Hash], msgspec.Meta(max_length=2 * PROOF_HASHES_MAX)] = []
    before: PlacedHead | None = None
    after: PlacedHead | None = None


class Shown(Struct, frozen=True):
    """`completeness.json`."""

    rule: Count
    groups: Annotated[list[Listed], msgspec.Meta(max_length=GROUPS_MAX)]


def groups_of(account: str) -> tuple[str, str, str]:
    """Return the groups whose events a bundle of an account has."""
    return group_of_account(account), INSTRUMENTS, SIGNING


# Export


def write(connection: Connection, bundle: zipfile.ZipFile, note: Note, claim: Claim) -> None:
    """Add what shows that an account's bundle is complete; nothing if the checkpoint has no map to show it by."""
    if claim.account is None or (heads := groups.heads_at(connection, note)) is None:
        return
    shown = []
    for number, group in enumerate(groups_of(claim.account), 1):
        index, is_there = heads.place(group)
        if not is_there:
            before = _placed(heads, index - 1) if index > 0 else None
            shown.append(Listed(group, before=before, after=_placed(heads, index) if index < len(heads) else None))
            continue
        name = f"entries-{number}.bin"
        with bundle.open(name, "w", force_zip64=True) as file:
            cut = groups.Cut(connection, heads.at(index), note.checkpoint.size)
            found = cut.write(file.write, claim.first, claim.upto)
        shown.append(Listed(group, _placed(heads, index), name, found.skipped, left=found.left, right=found.right))
    bundle.writestr(PART, msgspec.json.format(msgspec.json.encode(Shown(RULE, shown))))


def _placed(heads: GroupMap, index: int) -> PlacedHead:
    head = heads.at(index)
    return PlacedHead(group=head.group, count=head.count, root=head.root, index=index, proof=heads.proof(index))


# Verification


class CompletenessCheck:
    """Takes the proved events of a bundle one by one, by seq, and says in the end what is shown about it."""

    def __init__(self, archive: Archive, claim: Claim, stated: Stated | None) -> None:
        self._claim = claim
        self._gaps: list[Gap] = []
        self._all = _Seqs("", claim.first) if claim.account is None else None
        self._why_not = ""
        self._groups: dict[str, _Listing] = {}
        if claim.account is not None:
            self._why_not = self._open(archive, claim.account, stated)

    def _open(self, archive: Archive, account: str, stated: Stated | None) -> str:
        """Open the lists of the account's groups; return why nothing can be shown, "" if it can."""
        if stated is None:
            return (
                "its checkpoint states no map of accounts, as those of a Daybook of before; have it exported again by "
                "a newer one (`daybook close` makes one)"
            )
        if stated.rule != RULE:
            return (
                f"its checkpoint divides the log by rule {stated.rule}, and this Daybook knows {RULE}: use a newer one"
            )
        if not archive.has(PART):
            return f"it has no {PART}: it is of a Daybook of before, or it was removed; export it again"
        try:
            shown = msgspec.json.decode(archive.text(PART, PART_BYTES_MAX), type=Shown)
        except UNDECODABLE as error:
            raise HistoryBroken(f"{PART} of {archive.path} is damaged: {error}") from error
        listed = {each.group: each for each in shown.groups}
        for group in groups_of(account):
            if group not in listed:
                return f"its {PART} has nothing of {group}; export it again"
            if not _is_in_map(listed[group], stated):
                return f"its {PART} does not prove {group} by the map of its checkpoint; export it again"
            self._groups[group] = _Listing(archive, listed[group], self._claim)
        return ""

    def add(self, seq: int, leaf: bytes, group: str) -> None:
        """Add a proved event."""
        if self._all is not None:
            self._all.add(seq)
        elif group in self._groups:
            self._groups[group].add(seq, leaf)

    def gap(self, gap: Gap) -> None:
        """Add versions of a stream that are not there."""
        if len(self._gaps) < RANGES_MAX:
            self._gaps.append(gap)

    def result(self) -> Completeness:
        """Return the outcome, once all events were added."""
        if self._all is not None:
            self._all.end(self._claim.upto + 1)
            missing = [self._all.missing()] if self._all.count else []
        else:
            missing = [found for each in self._groups.values() if (found := each.end()) is not None]
        gaps = tuple(self._gaps)
        if missing or gaps:
            return Completeness(Outcome.INCOMPLETE, _described(missing, gaps), tuple(missing), gaps)
        if self._why_not:
            return Completeness(Outcome.NOT_SHOWN, self._why_not)
        return Completeness(Outcome.COMPLETE)

    def close(self) -> None:
        """Close the lists."""
        for each in self._groups.values():
            each.close()


def _is_in_map(listed: Listed, stated: Stated) -> bool:
    if listed.head is not None:
        return listed.head.group == listed.group and listed.head.placed().is_in(stated.groups, stated.root)
    before = listed.before.placed() if listed.before is not None else None
    after = listed.after.placed() if listed.after is not None else None
    return is_absent(listed.group, before, after, stated.groups, root=stated.root)


class _Seqs:
    """Seqs that are missing, as ranges; only so many are remembered."""

    def __init__(self, group: str, expected: int = 0) -> None:
        self._group = group
        self._expected = expected
        self._ranges: list[list[int]] = []
        self.count = 0

    def add(self, seq: int) -> None:
        """Add one that is there: those expected before it are missing."""
        self.end(seq)
        self._expected = seq + 1

    def end(self, beyond: int) -> None:
        """Add all from the expected one to before `beyond` as missing."""
        if self._expected < beyond:
            self._lack(self._expected, beyond - 1)

    def lack(self, seq: int) -> None:
        """Add one that is missing."""
        self._lack(seq, seq)

    def _lack(self, first: int, last: int) -> None:
        self.count += last - first + 1
        if self._ranges and self._ranges[-1][1] == first - 1:
            self._ranges[-1][1] = last
        elif len(self._ranges) < RANGES_MAX:
            self._ranges.append([first, last])

    def missing(self) -> Missing:
        """Return what is missing."""
        return Missing(self._group, self.count, tuple((first, last) for first, last in self._ranges))


class _Listing:
    """A group's list of entries, read beside the events, and compared with the group's root."""

    def __init__(self, archive: Archive, listed: Listed, claim: Claim) -> None:
        self._listed = listed
        self._claim = claim
        self._path = archive.path
        self._lacking = _Seqs(listed.group)
        self._present = 0
        self._last_seq = 0
        self._first_entry: int | None = None
        head = listed.head
        self._count = head.count if head is not None else 0
        self._is_wrong = len(listed.left) != listed.skipped.bit_count() or listed.skipped > self._count
        self._tree = Frontier() if self._is_wrong else Frontier(listed.skipped, listed.left)
        self._entries = _entries(archive, listed.entries) if head is not None else iter(())
        self._next = next(self._entries, None)

    def add(self, seq: int, leaf: bytes) -> None:
        """Add an event of the group that is in the bundle."""
        self._present += 1
        while self._next is not None and seq_of(self._next) < seq:
            self._pass(is_there=False)
        if self._next is None or seq_of(self._next) != seq or self._next[-HASH_BYTES:] != leaf:
            self._is_wrong = True  # the list lacks an event that was signed
            return
        self._pass(is_there=True)

    def end(self) -> Missing | None:
        """Return what is missing; None if nothing is. Raises HistoryBroken for a list that is only damaged."""
        while self._next is not None:
            self._pass(is_there=False)
        if not self._is_wrong and self._is_signed():
            return self._lacking.missing() if self._lacking.count else None
        is_all = self._claim.first == 1 and self._claim.upto == self._claim.size
        if not is_all:
            return Missing(self._listed.group, None)
        if self._present < self._count:
            return Missing(self._listed.group, self._count - self._present)
        raise HistoryBroken(
            f"{self._listed.entries or PART} of {self._path} is damaged: it is not the list of {self._listed.group} "
            "that was signed; export it again"
        )

    def _pass(self, *, is_there: bool) -> None:
        entry = self._next
        assert entry is not None, "there is an entry to pass"
        seq = seq_of(entry)
        if self._first_entry is None:
            self._first_entry = seq
        self._is_wrong |= seq <= self._last_seq
        self._last_seq = seq
        self._tree.add(leaf_hash(entry))
        if not is_there and self._claim.first <= seq <= self._claim.upto:
            self._lacking.lack(seq)
        self._next = next(self._entries, None)

    def _is_signed(self) -> bool:
        """Return whether the list is the group's, with nothing of the period before or after it."""
        listed, tree = self._listed, self._tree
        if listed.head is None:
            return not self._present
        if tree.size > self._count:
            return False
        begins_before = self._first_entry is not None and self._first_entry < self._claim.first
        if (listed.skipped and not begins_before) or (tree.size < self._count and self._last_seq <= self._claim.upto):
            return False
        subtrees = subtrees_between(tree.size, self._count)
        if len(subtrees) != len(listed.right):
            return False
        for (level, _), node in zip(subtrees, listed.right, strict=True):
            tree.add(node, level)
        return tree.root() == listed.head.root

    def close(self) -> None:
        if isinstance(self._entries, Generator):
            self._entries.close()


def _entries(archive: Archive, name: str) -> Iterator[bytes]:
    with archive.opened(name) as file:
        while entry := file.read(ENTRY_BYTES):
            if len(entry) != ENTRY_BYTES:
                raise HistoryBroken(f"{name} of {archive.path} was cut short")
            yield entry


def ranges_text(ranges: Iterable[tuple[int, int]], most: int = 8) -> str:
    """Return ranges of seqs as text, the first ones of many."""
    shown = [str(first) if first == last else f"{first} to {last}" for first, last in ranges]
    return ", ".join(shown[:most]) + (", …" if len(shown) > most else "")


def _described(missing: list[Missing], gaps: tuple[Gap, ...]) -> str:
    parts = []
    for each in missing:
        of_what = f" of {each.group}" if each.group else ""
        if each.events is None:
            parts.append(f"events{of_what} were left out, or its list was changed; how many is not known")
        else:
            seqs = f" (seq {ranges_text(each.seqs)})" if each.seqs else ""
            parts.append(f"{each.events:,} events{of_what} are missing{seqs}")
    parts += [f"{gap.stream} goes from version {gap.after} to {gap.before} at seq {gap.seq}" for gap in gaps[:3]]
    if len(gaps) > 3:
        parts.append(f"and {len(gaps) - 3} more streams have gaps")
    return "; ".join(parts)
