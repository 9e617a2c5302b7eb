"""Trust policies in the C2SP tlog-policy format: which logs and witnesses are known, and which quorum must have signed.

One item a line: `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`, `group <name> all|any|<k> <name>...`,
`quorum <name>|none`. Names are opaque; a name that is no UTF-8 keeps its bytes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from adapters.proof import checkpoints
from adapters.proof.checkpoints import Note, PublicKey
from adapters.proof.cosignatures import SUBTREE_V1, Cosignature, WitnessKey, cosigned_by, witness_key
from domain.errors import InvalidInput

FILE_BYTES_MAX = 1024 * 1024
ITEMS_MAX = 256  # logs, witnesses and groups, of each
NONE = "none"


class Witness(NamedTuple):
    """A witness of a policy. `url` is its submission prefix; empty if the policy has none."""

    name: str
    key: WitnessKey
    url: str


class Group(NamedTuple):
    """A group: it has witnessed a checkpoint if at least `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


class QuorumCheck(NamedTuple):
    """What a policy finds of a checkpoint: the valid cosignatures, by the policy's names, and whether they suffice."""

    is_met: bool
    cosigned: Mapping[str, Cosignature]
    missing: tuple[str, ...]
    quorum: str


class Policy(NamedTuple):
    """A trust policy. `origins` are those of all its logs, `logs` the keys among them that a Daybook may have."""

    origins: frozenset[str]
    logs: tuple[PublicKey, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    def check(self, note: Note) -> QuorumCheck:
        """Verify a checkpoint's cosignatures against the quorum. Raises HistoryBroken for one that is not valid."""
        valid = {each.key: each for each in cosigned_by(note, (one.key for one in self.witnesses.values()))}
        cosigned = {name: valid[one.key] for name, one in self.witnesses.items() if one.key in valid}
        wanted = self._witnesses_of(self.quorum)
        return QuorumCheck(
            self._is_met(self.quorum, cosigned.keys()),
            cosigned,
            tuple(name for name in wanted if name not in cosigned),
            self.quorum,
        )

    def keys_of(self, origin: str) -> list[PublicKey]:
        """Return the keys of the logs of an origin."""
        return [key for key in self.logs if key.name == origin]

    def _is_met(self, name: str, cosigned: Iterable[str]) -> bool:
        """Return whether a member has witnessed. Groups name only earlier ones, so the loop ends."""
        if name == NONE:
            return True
        met = set(cosigned)
        for group in self.groups.values():
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(group.name)
        return name in met

    def _witnesses_of(self, name: str) -> list[str]:
        open_, found = [name], []
        while open_:
            group = self.groups.get(each := open_.pop(0))
            if group is not None:
                open_ += group.members
            elif each != NONE:
                found.append(each)
        return found


def read(path: Path) -> Policy:
    """Read a policy file. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput("policy", str(path), f"a file that can be read ({error.strerror})") from error
    if len(content) > FILE_BYTES_MAX:
        raise InvalidInput("policy", str(path), f"a file of at most {FILE_BYTES_MAX} bytes")
    return parse(content)


def parse(content: bytes) -> Policy:
    """Parse a policy. Raises InvalidInput, which names the line."""
    reading = _Reading()
    for number, raw in enumerate(content.split(b"\n"), 1):
        if any((each < 32 and each != 9) or each == 127 for each in raw):
            raise InvalidInput(f"line {number} of the policy", repr(raw[:80]), "text without control characters")
        words = [word.decode(errors="surrogateescape") for word in raw.replace(b"\t", b" ").split(b" ") if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            reading.line(words)
        except InvalidInput as error:
            raise InvalidInput(f"line {number} of the policy", error.value, error.rule) from error
    return reading.policy()


class _Reading:
    def __init__(self) -> None:
        self._logs: list[PublicKey | WitnessKey] = []
        self._witnesses: dict[str, Witness] = {}
        self._groups: dict[str, Group] = {}
        self._grouped: set[str] = set()
        self._quorum: str | None = None

    def line(self, words: list[str]) -> None:
        """Read one line. Raises InvalidInput."""
        if max(len(self._logs), len(self._witnesses), len(self._groups)) >= ITEMS_MAX:
            raise InvalidInput("policy", words[0], f"one of at most {ITEMS_MAX} logs, witnesses and groups")
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self._log(vkey)
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._witness(name, vkey, *url)
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                if self._quorum is not None:
                    raise InvalidInput("policy", name, "the only quorum")
                if name != NONE and name not in self._witnesses and name not in self._groups:
                    raise InvalidInput("policy", name, "a witness or group of a line before, or none")
                self._quorum = name
            case _:
                rule = "log VKEY [URL], witness NAME VKEY [URL], group NAME all|any|K NAME..., or quorum NAME"
                raise InvalidInput("policy", " ".join(words)[:80], rule)

    def policy(self) -> Policy:
        """Return the whole policy. Raises InvalidInput without a quorum."""
        if self._quorum is None:
            raise InvalidInput("policy", "", "whole: it needs a line quorum NAME, or quorum none")
        logs = tuple(key for key in self._logs if isinstance(key, PublicKey))
        origins = frozenset(key.name for key in self._logs)
        return Policy(origins, logs, witnesses=self._witnesses, groups=self._groups, quorum=self._quorum)

    def _log(self, vkey: str) -> None:
        is_ml_dsa = checkpoints.parts_of_key(vkey)[2][:1] == bytes([SUBTREE_V1])
        key = witness_key(vkey) if is_ml_dsa else checkpoints.public_key(vkey)
        if any(key.raw == other.raw for other in self._logs):
            raise InvalidInput("policy", vkey, "a key of one log only")
        self._logs.append(key)

    def _witness(self, name: str, vkey: str, url: str = "") -> None:
        self._check_new(name)
        key = witness_key(vkey)
        if any(key.raw == other.key.raw for other in self._witnesses.values()):
            raise InvalidInput("policy", vkey, "a key of one witness only")
        self._witnesses[name] = Witness(name, key, url)

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._check_new(name)
        least = {"all": str(len(members)), "any": "1"}.get(threshold, threshold)
        if not (least.isascii() and least.isdecimal() and 1 <= int(least[:6]) <= len(members)):
            raise InvalidInput("policy", threshold, f"all, any, or a number from 1 to {len(members)}")
        for member in members:
            if member not in self._witnesses and member not in self._groups:
                raise InvalidInput("policy", member, "a witness or group of a line before")
            if member in self._grouped:
                raise InvalidInput("policy", member, "a member of one group only, once")
            self._grouped.add(member)
        self._groups[name] = Group(name, int(least), tuple(members))

    def _check_new(self, name: str) -> None:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise InvalidInput("policy", name, "a new name, and not none")
