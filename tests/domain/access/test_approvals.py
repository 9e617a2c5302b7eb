"""Four eyes: what loosens a control is proposed by one person, and takes effect when another approves it."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.log.memory import MemoryLog
from domain.access import (
    Action,
    ActionProposed,
    ApiKey,
    ApproveProposal,
    IssueKey,
    OsAccount,
    Part,
    ProposalApproved,
    ProposalExpired,
    RejectProposal,
    RescopeKey,
    RevokeKey,
    SetApprovalPolicy,
    Status,
    approvals,
    keys,
)
from domain.account import Break, BreakKind, BreakOpened, ForgetSubject, ResolveBreak
from domain.errors import RequestRefused
from domain.ledger import OVERSEEN, Ledger, Logged, Oversight, scan
from domain.policies import Policy, SetPolicy
from domain.risk import (
    ANYWHERE,
    FIRM,
    EngageSwitch,
    Measure,
    Mode,
    ReleaseSwitch,
    Scope,
    SetConversion,
    SetLimit,
    SetTradingDay,
    StateCapital,
)
from domain.risk import stream as limits_of
from domain.values import Money
from tests.derived import derived
from tests.desk import BTC, T0, open_desk

ADA = OsAccount(1000, "ada", "desk-1")
BOB = OsAccount(1001, "bob", "desk-1")
EVERY = tuple(Action)


class Office:
    """A ledger with a desk, all actions guarded, and a clock that can be moved."""

    def __init__(self, *actions: Action) -> None:
        self.log = MemoryLog()
        self.at = T0
        open_desk(self.log)
        self.ledger = Ledger(self.log, lambda: self.at)
        if actions:
            self.ledger.request(SetApprovalPolicy(actions, 24, self.at), actor=ADA)

    def request(self, request: Any, actor: Any = ADA) -> Any:
        return self.ledger.request(request, actor=actor)

    def lapses(self, *forged: Any) -> list[str]:
        """What oversight finds in the log with further records behind it."""
        oversight = Oversight()
        head = self.log.head().seq
        logged = [*scan(self.log), *(Logged(head + n, record) for n, record in enumerate(forged, 1))]
        found = (oversight.add(each) for each in logged if isinstance(each.recorded.event, OVERSEEN))
        return [lapse.reason for lapse in found if lapse is not None]

    def approve(self, proposal_id: str, actor: Any = BOB) -> Any:
        return self.request(ApproveProposal(proposal_id, self.at), actor)

    def limit(self, size: str | None, measure: Measure = Measure.MAX_POSITION, currency: str | None = None) -> SetLimit:
        return SetLimit("main", ANYWHERE, measure, None if size is None else D(size), currency, self.at)

    @property
    def position_limit(self) -> Any:
        return self.ledger.state(limits_of("main")).limits[ANYWHERE, Measure.MAX_POSITION].limit

    def proposal(self, proposal_id: str) -> Any:
        return self.ledger.state(approvals.STREAM).proposals[proposal_id]


def test_a_raised_limit_waits_for_another_person_and_names_both():
    office = Office(Action.LIMIT)
    assert office.request(office.limit("10")).proposal_id == "", "a first limit loosens nothing"
    proposed = office.request(office.limit("20"))
    assert proposed.proposal_id == "P1" and office.position_limit == 10
    (recorded,) = proposed.records
    assert isinstance(recorded.event, ActionProposed) and recorded.by == ADA and recorded.event.proposed_by == ADA
    done = office.approve("P1")
    approved, set_ = done.records
    assert office.position_limit == 20
    assert (set_.by, set_.approved_by, set_.actor, set_.cause) == (ADA, BOB, "os:1000/ada@desk-1", "approval:P1")
    assert approved.event == ProposalApproved("P1", ADA, BOB, T0) and approved.approved_by == BOB
    assert office.proposal("P1").status is Status.APPROVED
    assert office.approve("P1").records == (), "approved before"


def test_what_only_tightens_needs_no_one():
    office = Office(*EVERY)
    for size in ("10", "9", "9", "0"):
        assert office.request(office.limit(size)).proposal_id == ""
    assert office.position_limit == 0
    assert office.request(EngageSwitch("main", ANYWHERE, Mode.REDUCE_ONLY, "stop", T0)).proposal_id == ""
    assert office.request(EngageSwitch("main", ANYWHERE, Mode.HALT, "stop", T0)).proposal_id == ""
    assert office.request(IssueKey("k1", "bot", ("trade",), "f", T0)).proposal_id == ""
    assert office.request(RevokeKey("k1", "", T0)).proposal_id == ""


def office_with_all() -> Office:
    """Everything is there that can be loosened."""
    office = Office()
    office.request(office.limit("10"))
    office.request(office.limit("10", Measure.MAX_ORDER_NOTIONAL, "USDT"))
    office.request(EngageSwitch("main", ANYWHERE, Mode.HALT, "stop", T0), OsAccount(1, "eve", "h"))
    office.request(EngageSwitch("main", Scope("trend"), Mode.HALT, "stop", T0), BOB)
    office.request(IssueKey("k1", "bot", ("trade",), "f", T0))
    found = Break("b1", "main", BreakKind.AMOUNT_DIFFERS, ("amount",), None, None)
    office.ledger.report([BreakOpened("main", found, "s1", T0)], actor="reconciliation")
    office.request(SetApprovalPolicy(EVERY, 24, T0, True))
    return office


LOOSER = {
    "raise": (Action.LIMIT, lambda office: office.limit("10.000000000000000001")),
    "lift": (Action.LIMIT, lambda office: office.limit(None)),
    "currency": (Action.LIMIT, lambda office: office.limit("9", Measure.MAX_ORDER_NOTIONAL, "JPY")),
    "older marks": (Action.LIMIT, lambda office: office.limit("61", Measure.MAX_MARK_AGE)),
    "trading day": (Action.LIMIT, lambda office: SetTradingDay("main", 7, T0)),
    "conversion": (Action.LIMIT, lambda office: SetConversion("main", BTC, T0)),
    "capital": (Action.LIMIT, lambda office: StateCapital("main", Money(D(5), "USDT"), T0)),
    "release": (Action.SWITCH, lambda office: ReleaseSwitch("main", ANYWHERE, "over", T0)),
    "reduce only": (Action.SWITCH, lambda office: EngageSwitch("main", Scope("trend"), Mode.REDUCE_ONLY, "softer", T0)),
    "break": (Action.BREAK, lambda office: ResolveBreak("main", "b1", "known", T0)),
    "forget": (Action.FORGET, lambda office: ForgetSubject("client-1", "requested", T0)),
    "admin key": (Action.KEY, lambda office: IssueKey("k2", "boss", ("admin",), "f", T0)),
    "to admin": (Action.KEY, lambda office: RescopeKey("k1", ("admin",), T0)),
    "loss off": (Action.POLICY, lambda office: SetPolicy("main", Policy.LOSS, False, "", T0)),
    "rarer": (Action.POLICY, lambda office: SetPolicy(FIRM, Policy.MARKS, True, "", T0, None, 61)),
    "policy off": (None, lambda office: SetApprovalPolicy((), 24, T0)),
    "policy less": (None, lambda office: SetApprovalPolicy(EVERY[1:], 24, T0, True)),
    "policy by issuers": (None, lambda office: SetApprovalPolicy(EVERY, 24, T0)),
    "policy longer": (None, lambda office: SetApprovalPolicy(EVERY, 25, T0, True)),
}


@pytest.mark.parametrize("name", LOOSER)
def test_all_that_loosens_is_proposed_and_only_another_person_makes_it_so(name: str):
    office = office_with_all()
    action, make = LOOSER[name]
    request = make(office)
    before = [logged.recorded for logged in scan(office.log)]
    proposed = office.request(request)
    (recorded,) = proposed.records
    assert isinstance(recorded.event, ActionProposed) and recorded.event.action is action
    assert type(recorded.event.request) is type(request)
    with pytest.raises(RequestRefused, match="another person"):
        office.approve(proposed.proposal_id, ADA)
    assert [logged.recorded for logged in scan(office.log)] == [*before, recorded], "no effect yet"
    done = office.approve(proposed.proposal_id)
    effects = done.records[1:]
    assert effects and all(each.by == ADA and each.approved_by == BOB for each in effects)
    assert office.lapses() == []
    if name not in ("admin key", "break"):  # one key_id names one key, and a break is resolved once
        assert office.request(request).records == (), "it is in effect"


@pytest.mark.parametrize("name", [name for name, (action, _) in LOOSER.items() if action is not None])
def test_without_the_policy_each_takes_effect_at_once(name: str):
    office = office_with_all()
    off = office.request(SetApprovalPolicy((), 24, T0))
    office.approve(off.proposal_id)
    done = office.request(LOOSER[name][1](office))
    assert done.proposal_id == "" and done.records


def test_the_same_request_proposed_again_is_one_proposal():
    office = Office(Action.LIMIT)
    office.request(office.limit("10"))
    first = office.request(office.limit("20"))
    office.at += timedelta(minutes=1)
    again = office.request(office.limit("20"))
    assert (first.proposal_id, again.proposal_id, again.records) == ("P1", "P1", ())
    assert office.request(office.limit("20"), BOB).proposal_id == "P2", "another person's is another"


def test_what_would_be_refused_is_not_proposed():
    office = Office(*EVERY)
    for wrong in (office.limit("-1"), ResolveBreak("main", "b1", "why", T0), ForgetSubject("client-1", " ", T0)):
        with pytest.raises(RequestRefused):
            office.request(wrong)
    assert not office.ledger.state(approvals.STREAM).proposals


def test_it_is_decided_by_the_state_of_its_approval():
    office = office_with_all()
    proposed = office.request(ReleaseSwitch("main", ANYWHERE, "over", T0))
    office.request(RescopeKey("k1", ("admin",), T0))
    office.request(RevokeKey("k1", "", T0))
    with pytest.raises(RequestRefused, match="revoked key stays revoked"):
        office.approve("P2")
    assert office.proposal("P2").status is Status.PENDING
    assert office.approve(proposed.proposal_id).records


def test_a_proposal_expires_by_the_time_of_the_policy_and_that_is_recorded_with_the_next():
    office = Office(Action.LIMIT)
    office.request(office.limit("10"))
    office.request(office.limit("20"))
    office.at += timedelta(hours=24)
    with pytest.raises(RequestRefused, match="only a pending proposal"):
        office.approve("P1")
    done = office.request(office.limit("20"))
    proposed, expired = done.records
    assert isinstance(expired.event, ProposalExpired) and proposed.event.proposal_id == "P2"
    assert office.proposal("P1").status is Status.EXPIRED
    office.at += timedelta(hours=23, minutes=59)
    assert office.approve("P2").records and office.position_limit == 20


def test_a_rejected_or_withdrawn_proposal_has_no_effect():
    office = Office(Action.LIMIT)
    office.request(office.limit("10"))
    for number, who in enumerate((BOB, ADA), 1):
        office.request(office.limit("20"))
        with pytest.raises(RequestRefused, match="a reason"):
            office.request(RejectProposal(f"P{number}", "", T0), who)
        assert office.request(RejectProposal(f"P{number}", "too much", T0), who).records
        assert office.request(RejectProposal(f"P{number}", "too much", T0), who).records == ()
        with pytest.raises(RequestRefused, match="only a pending proposal"):
            office.approve(f"P{number}")
    assert office.position_limit == 10


def test_a_plain_name_or_a_part_of_daybook_neither_proposes_nor_approves():
    office = Office(Action.LIMIT)
    office.request(office.limit("10"))
    office.request(office.limit("20"))
    for who in ("alice", Part("policy:LOSS")):
        with pytest.raises(RequestRefused):
            office.request(office.limit("30"), who)
        with pytest.raises(RequestRefused):
            office.approve("P1", who)


def test_a_key_proposes_and_approves_while_the_log_has_it_as_admin():
    office = Office(Action.LIMIT)
    for key_id, name, scopes in (("k1", "carol", ("admin",)), ("k2", "dan", ("admin",)), ("k3", "eve", ("trade",))):
        office.request(IssueKey(key_id, name, scopes, "f", T0))
    carol, dan, eve = ApiKey("k1", "carol"), ApiKey("k2", "dan"), ApiKey("k3", "eve")
    office.request(office.limit("10"), carol)
    office.request(office.limit("20"), carol)
    with pytest.raises(RequestRefused, match="scope admin"):
        office.approve("P1", eve)
    with pytest.raises(RequestRefused, match="the same name"):
        office.approve("P1", OsAccount(7, "carol", "h"))
    office.request(RevokeKey("k1", "left", T0))
    with pytest.raises(RequestRefused, match="valid and has the scope admin still"):
        office.approve("P1", dan)
    office.request(office.limit("20"), dan)
    with pytest.raises(RequestRefused, match="scope admin"):
        office.approve("P2", carol)
    assert office.approve("P2", ADA).records


def test_a_key_cannot_issue_by_proposal_what_it_may_not_give():
    office = Office(Action.KEY)
    with pytest.raises(RequestRefused, match="managed by a valid key with the scope admin"):
        office.request(IssueKey("k9", "boss", ("admin",), "f", T0), ApiKey("nope", "ghost"))
    assert office.ledger.state(keys.stream("k9")) is None


def test_where_issuers_count_no_one_approves_by_a_key_whose_secret_was_theirs_to_see():
    office = Office()
    office.request(SetApprovalPolicy((Action.LIMIT,), 24, T0, True))
    for key_id, name, who in (("k1", "carol", ADA), ("k2", "dan", BOB), ("k3", "eve", BOB)):
        office.request(IssueKey(key_id, name, ("admin",), "f", T0), who)
    office.request(office.limit("10"))
    office.request(office.limit("20"))
    with pytest.raises(RequestRefused, match="has seen its secret"):
        office.approve("P1", ApiKey("k1", "carol"))
    office.request(office.limit("30"), ApiKey("k2", "dan"))
    with pytest.raises(RequestRefused, match="has seen its secret"):
        office.approve("P2", BOB)
    assert office.approve("P2", ApiKey("k3", "eve")).records, "two keys of one issuer are two holders"
    assert office.approve("P1", ApiKey("k2", "dan")).records


def test_a_policy_set_by_another_process_is_in_force_for_the_next_request():
    office = Office()
    office.request(office.limit("10"))
    other = Ledger(office.log, lambda: T0)
    other.request(office.limit("11"), actor=ADA)
    office.request(SetApprovalPolicy((Action.LIMIT,), 24, T0))
    assert other.request(office.limit("12"), actor=ADA).proposal_id == "P1"


@pytest.mark.parametrize("name", LOOSER)
def test_oversight_names_an_action_that_was_recorded_without_the_second_person(name: str):
    office, other = office_with_all(), office_with_all()
    proposed = other.request(LOOSER[name][1](other))
    approved, effect, *_ = other.approve(proposed.proposal_id).records
    assert office.lapses() == []
    for alone in (replace(effect, approved_by=None), replace(effect, approved_by=None, by=None, actor="alice")):
        (reason,) = office.lapses(alone)
        assert "needed a second person" in reason
    assert office.lapses(effect) == ["no such proposal was approved right before it"]
    first, second = office.lapses(approved, effect)
    assert "on record" in first and second == "no such proposal was approved right before it"
    (waiting,) = proposed.records
    assert office.lapses(waiting, approved, effect) == []


def test_oversight_names_an_approval_by_the_same_person_and_of_another_request():
    office = Office(Action.LIMIT)
    office.request(office.limit("10"))
    office.request(office.limit("20"))
    other = Office(Action.LIMIT)
    other.request(other.limit("10"))
    other.request(other.limit("20"))
    approved, effect = other.approve("P1").records
    assert office.lapses(approved, effect) == []
    more = replace(effect, event=replace(effect.event, limit=D(2000)))
    assert office.lapses(approved, more) == ["no such proposal was approved right before it"]
    own = replace(approved, approved_by=ADA, event=replace(approved.event, approved_by=ADA))
    assert "another person" in office.lapses(own)[0]


def test_oversight_names_a_key_that_gives_what_it_has_not():
    office = Office()
    office.request(IssueKey("k1", "carol", ("admin", "read"), "f", T0))
    done = office.request(IssueKey("k2", "dan", ("read",), "f", T0), ApiKey("k1", "carol"))
    assert office.lapses() == []
    (record,) = done.records
    given = replace(record, stream="access:k3", event=replace(record.event, key_id="k3", scopes=("trade",)))
    assert "gives no scope" in office.lapses(given)[0]
    unknown = replace(given, by=ApiKey("ghost", "ghost"))
    assert "valid key with the scope admin" in office.lapses(unknown)[0]


@pytest.mark.parametrize("name", LOOSER)
def test_an_approval_follows_from_its_proposal_and_nothing_forged_does(name: str):
    """Also when the proposal before it expired; without a second person, by another one, or by who proposed it."""
    office = office_with_all()
    _, make = LOOSER[name]
    office.request(IssueKey("k9", "late", ("admin",), "f", office.at))
    office.at += timedelta(hours=25)
    proposal_id = office.request(make(office)).proposal_id
    office.at += timedelta(hours=1)
    sent_at = office.at - timedelta(microseconds=77)  # it is recorded a moment after it was sent
    office.request(ApproveProposal(proposal_id, sent_at), BOB)
    records = [logged.recorded for logged in scan(office.log)]
    found = derived(records)
    assert not found.faults and found.events == len(records), "\n".join(map(str, found.faults))
    *before, approval, effect = records
    alone = [*before, replace(effect, approved_by=None, cause="")]
    by_another = [*before, approval, replace(effect, approved_by=OsAccount(1002, "eve", "desk-1"))]
    by_itself = [*before, replace(approval, approved_by=ADA), replace(effect, approved_by=ADA)]
    for forged in ([*before, effect], [*before, approval], alone, by_another, by_itself):
        assert derived(forged).faults, forged[len(before) :]


def test_a_key_that_no_one_could_have_issued_does_not_follow():
    office = Office()
    boss, bot = ApiKey("k1", "boss"), ApiKey("k2", "bot")
    office.request(IssueKey("k1", "boss", ("admin", "trade"), "f", T0))
    office.request(IssueKey("k2", "bot", ("trade",), "f", T0), boss)
    office.request(RescopeKey("k2", ("read", "trade"), T0), boss)
    office.request(RevokeKey("k2", "left", T0), boss)
    records = [logged.recorded for logged in scan(office.log)]
    assert not derived(records).faults
    for place in range(len(records) - 3, len(records)):
        forged = [replace(each, by=bot, actor="bot") if at == place else each for at, each in enumerate(records)]
        assert derived(forged).faults
