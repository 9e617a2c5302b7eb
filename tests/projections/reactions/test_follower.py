"""A follower that crashes at any step, in memory: what is sent is what the log calls for, each once."""

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.log.memory import MemoryLog
from domain.errors import RequestRefused
from domain.ledger import Ledger, Logged, Recorded
from domain.order import CancelOrder, OrderKey
from domain.policies import Policy, SetPolicy
from domain.reactions import expiry
from domain.reactions.catalog import PROCESSES
from domain.reactions.process import Process, Reaction
from domain.risk import EngageSwitch, Mode, ReleaseSwitch, Scope
from projections.reactions.follower import Follower
from projections.reactions.places import Place, packed, unpacked
from tests.projections.reactions.book import LATER, T0, bought, opened, recorded, replayed, submit

STEPS = st.lists(
    st.tuples(st.sampled_from(("submit", "fill", "halt", "release", "cancel", "off", "on", "wait")), st.integers(0, 3)),
    max_size=12,
)
CRASHES = st.lists(st.sampled_from(("none", "before", "after", "unsaved")), min_size=1, max_size=30)
VERSION = expiry.PROCESS.version


class Crash(BaseException):
    """The process ends here."""


class Office:
    """A ledger, followers of its log, and their places as they are stored; sends crash by a plan."""

    def __init__(self, crashes: Sequence[str] = ()) -> None:
        self.log = MemoryLog()
        self.now = T0
        self.ledger = Ledger(self.log, lambda: self.now)
        self.crashes = list(crashes)
        self.answers: dict[tuple[str, str], str | None] = {}  # as the writer keeps them, with the events
        self.sent: list[tuple[str, str]] = []
        self.places = {process.name: Place(process.version, since=0, seq=0, saves=0) for process in PROCESSES}
        opened(self.ledger)
        self.followers: list[Follower] = []
        self.start()

    def start(self) -> None:
        self.followers = [Follower(process, self.places[process.name], self.send) for process in PROCESSES]

    def next_crash(self) -> str:
        return self.crashes.pop() if self.crashes else "none"

    def send(self, reactions: Sequence[Reaction]) -> list[str | None]:
        return [self.send_one(each) for each in reactions]

    def send_one(self, reaction: Reaction) -> str | None:
        crash = self.next_crash()
        if crash == "before":
            raise Crash
        key = (reaction.actor, reaction.request_id)
        if key not in self.answers or not reaction.is_once:
            self.answers[key] = self.carried_out(reaction)
            if reaction.is_once:
                self.sent.append(key)
        if crash == "after":
            raise Crash
        return self.answers[key]

    def carried_out(self, reaction: Reaction) -> str | None:
        named = {"actor": reaction.identity, "request_id": reaction.request_id, "cause": reaction.cause}
        try:
            if isinstance(reaction.request, tuple):
                self.ledger.report(reaction.request, **named)  # type: ignore[arg-type]
            else:
                self.ledger.request(reaction.request, **named)  # type: ignore[arg-type]
        except RequestRefused as refused:
            return str(refused)
        return None

    def follow(self) -> None:
        """Follow until nothing is left to do, with a new start after each crash."""
        before = -1
        while (head := self.log.head().seq) != before:
            before = head
            try:
                self.read(head)
            except Crash:
                self.start()
                before = -1

    def read(self, head: int) -> None:
        for follower in self.followers:
            assert follower.is_running, follower.error
            follower.read(self.log.select(after=follower.seq, upto=head, limit=10_000), head)
            if self.next_crash() == "unsaved":
                raise Crash
            self.save(follower)
        for follower in self.followers:
            follower.fire(self.now)
            self.save(follower)

    def save(self, follower: Follower) -> None:
        self.places[follower.process.name] = follower.to_save()

    def take(self, what: str, number: int) -> None:
        name = f"A{number}"
        requests = {
            "submit": lambda: submit(name, self.now + timedelta(minutes=number), "dated" if number % 2 else "main"),
            "cancel": lambda: CancelOrder(OrderKey("main", name), "by hand", self.now),
            "halt": lambda: EngageSwitch("main", Scope(), list(Mode)[number % 2], "by hand", self.now),
            "release": lambda: ReleaseSwitch("main", Scope(), "by hand", self.now),
            "off": lambda: policy(number, is_on=False),
            "on": lambda: policy(number, is_on=True),
        }
        if what == "wait":
            self.now += timedelta(seconds=45)
        elif what == "fill":
            self.ledger.report([bought(name, f"E{self.log.head().seq}", "2")], actor="venue")
        else:
            with contextlib.suppress(RequestRefused):
                self.ledger.request(requests[what](), actor=what)


def policy(number: int, *, is_on: bool) -> SetPolicy:
    chosen = (Policy.LOSS, Policy.SWITCH, Policy.EXPIRY, Policy.MARKS)[number]
    return SetPolicy("main", chosen, is_on=is_on, reason="", transact_time=T0)


@settings(max_examples=60)
@given(STEPS, CRASHES)
def test_a_crash_at_any_step_neither_repeats_nor_forgets_a_reaction(
    steps: list[tuple[str, int]], crashes: list[str]
) -> None:
    office = Office(crashes)
    for step in steps:
        office.take(*step)
        office.follow()
    office.now = LATER
    office.follow()
    assert len(set(office.sent)) == len(office.sent)
    assert set(recorded(office.log).values()) <= {1}
    for process in PROCESSES:
        mine = {key for key in office.sent if key[0] == f"policy:{process.name.upper()}"}
        assert {(each.actor, each.request_id) for each in replayed(process, office.log)} == mine


@settings(max_examples=30)
@given(STEPS)
def test_a_stored_state_is_read_back_as_it_was(steps: list[tuple[str, int]]) -> None:
    office = Office()
    for step in steps:
        office.take(*step)
        office.follow()
    for follower in office.followers:
        assert unpacked(follower.process, packed(follower.state)) == follower.state


def follower_of(process: Process, place: Place, sent: list[Reaction]) -> Follower:
    def send(reactions: Sequence[Reaction]) -> list[str | None]:
        sent.extend(reactions)
        return [None] * len(reactions)

    return Follower(process, place, send)


def dated(until: datetime) -> list[Logged]:
    ledger = Ledger(log := MemoryLog(), lambda: T0)
    opened(ledger)
    ledger.request(submit("A", until, "dated"), actor="trader")
    return log.select(limit=1000)


def test_another_version_folds_the_log_again_and_sends_nothing_that_was_due_before() -> None:
    log, sent = dated(T0 + timedelta(minutes=1)), list[Reaction]()
    older = follower_of(expiry.PROCESS, Place(VERSION, since=0, seq=0, saves=0), sent)
    older.read(log, log[-1].seq)
    newer = follower_of(expiry.PROCESS._replace(version=VERSION + 1), older.to_save(), sent)
    assert (newer.seq, newer.place.since, newer.place.version) == (0, log[-1].seq, VERSION + 1)
    newer.read(log, log[-1].seq)
    assert newer.state == older.state and sent == []
    newer.fire(T0 + timedelta(minutes=1))
    assert len(sent) == 1

    late = follower_of(expiry.PROCESS._replace(version=VERSION + 2), newer.to_save(), sent)
    late.since_at = T0 + timedelta(minutes=2)
    late.read(log, log[-1].seq)
    late.fire(LATER)
    assert len(sent) == 1, "the date had passed before it was switched on"


def test_a_state_that_cannot_be_read_is_folded_again() -> None:
    log, sent = dated(T0 + timedelta(minutes=1)), list[Reaction]()
    place = Place(VERSION, since=0, seq=log[-1].seq, saves=3, state=b"\x00 no state")
    follower = follower_of(expiry.PROCESS, place, sent)
    assert follower.seq == 0
    follower.read(log, log[-1].seq)
    follower.fire(T0 + timedelta(minutes=1))
    assert [each.request_id for each in sent] == [f"expiry-{log[-2].seq}-dated-A"]


def test_the_state_of_a_newer_daybook_is_left_alone() -> None:
    follower = follower_of(expiry.PROCESS, Place(VERSION + 1, since=0, seq=5, saves=1), [])
    assert not follower.is_running and not follower.is_moved
    assert follower.error == f"its state is of version {VERSION + 1}, this Daybook's of {VERSION}"


def test_an_event_of_no_interest_moves_the_place_and_nothing_else() -> None:
    follower = follower_of(expiry.PROCESS, Place(VERSION, since=0, seq=0, saves=0), [])
    before = follower.state
    ledger = Ledger(log := MemoryLog(), lambda: T0)
    opened(ledger)
    follower.read(log.select(limit=3), 3)
    assert follower.seq == 3 and follower.state == before
    assert isinstance(log.select(limit=1)[0].recorded, Recorded)
