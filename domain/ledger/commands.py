"""Commands: the requests and reports that the ledger carries out, its answers, and the streams they are about."""

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from domain import order
from domain.access import (
    Actor,
    ApproveProposal,
    BoundKey,
    IssueKey,
    RejectProposal,
    RescopeKey,
    RevokeKey,
    RotateKey,
    SetApprovalPolicy,
)
from domain.account import (
    AccountReport,
    CloseAccount,
    ForgetSubject,
    OpenAccount,
    RawReportKept,
    RequestTransfer,
    ResolveBreak,
    Statement,
    evidence,
)
from domain.errors import InvalidInput, LedgerError
from domain.instrument import AmendInstrument, DelistInstrument, ListInstrument, RedenominateInstrument
from domain.ledger.log import Recorded
from domain.marks import RecordMarks
from domain.order import (
    CancelOrder,
    CancelOrders,
    CloseParent,
    OpenParent,
    OrderFilled,
    OrderReport,
    ReplaceOrder,
    SubmitOrder,
    venue_ids,
)
from domain.policies import SetPolicy
from domain.position import (
    AssignLots,
    DeliverContract,
    FundingSettled,
    MovePosition,
    PositionBroken,
    PositionEvent,
    PositionTransferred,
    SettleContract,
    SettleFunding,
    Transfer,
)
from domain.risk import (
    ArmDeadManSwitch,
    AssessMarks,
    DisarmDeadManSwitch,
    EngageSwitch,
    FireDeadManSwitch,
    ReleaseSwitch,
    SetConversion,
    SetLimit,
    SetTradingDay,
    StateCapital,
)
from domain.sealed.figures import CloseFigures

Request = (
    SubmitOrder
    | CancelOrder
    | CancelOrders
    | ReplaceOrder
    | OpenParent
    | CloseParent
    | OpenAccount
    | ListInstrument
    | AmendInstrument
    | DelistInstrument
    | RedenominateInstrument
    | SetLimit
    | EngageSwitch
    | ReleaseSwitch
    | SetTradingDay
    | SetConversion
    | StateCapital
    | AssessMarks
    | SetPolicy
    | ArmDeadManSwitch
    | DisarmDeadManSwitch
    | FireDeadManSwitch
    | AssignLots
    | MovePosition
    | SettleContract
    | DeliverContract
    | RequestTransfer
    | ResolveBreak
    | CloseAccount
    | ForgetSubject
    | RecordMarks
    | CloseFigures
    | IssueKey
    | RescopeKey
    | BoundKey
    | RotateKey
    | RevokeKey
    | SetApprovalPolicy
    | ApproveProposal
    | RejectProposal
)
Report = OrderReport | SettleFunding | Transfer | RawReportKept | AccountReport | Statement


class Answer(Struct, frozen=True):
    """The answer to one request or report: the records it added to its own streams, and a `seq` that covers it.

    `records` is empty when it was already in effect. `error` is set where a report of a batch could not be recorded.
    For a fill `on_record` is the fill on record under its exec id, which differs if the report contradicts it.
    `proposal_id` is set where a request had no effect yet, because it needs a second person.
    """

    seq: int
    records: tuple[Recorded, ...] = ()
    error: LedgerError | None = None
    on_record: OrderFilled | None = None
    proposal_id: str = ""


class Outcome(NamedTuple):
    """The outcome of one request or report: an Answer whose seq is not known yet."""

    records: tuple[Recorded, ...] = ()
    error: LedgerError | None = None
    on_record: OrderFilled | None = None
    proposal_id: str = ""


EvidenceOf = Callable[[int, InvalidInput], RawReportKept]


class Command(NamedTuple):
    """A request or reports to carry out as one unit of work, and in whose name.

    `evidence_of` makes the evidence of a report (its index, its error) that could not be recorded.
    """

    payload: Request | tuple[Report, ...]
    actor: Actor
    request_id: str = ""
    cause: str = ""
    evidence_of: EvidenceOf | None = None


def streams_of(command: Command) -> list[str]:
    """The short streams that a command is about, mostly orders, to be read in advance, all at once."""
    match command.payload:
        case tuple(reports):
            streams = [evidence.stream(report) for report in reports if isinstance(report, RawReportKept)]
            of_orders = [report for report in reports if type(report) is OrderFilled or isinstance(report, OrderReport)]
            streams += [order.stream(report.key) for report in of_orders]
            return streams + [stream for report in of_orders if (stream := venue_ids.stream_of(report)) is not None]
        case SubmitOrder(key=key) | CancelOrder(key=key) | ReplaceOrder(key=key):
            return [order.stream(key)]
        case CancelOrders():
            return [order.stream(each.key) for each in command.payload.each()]
        case _:
            return []


def streams_begun_by(command: Command) -> list[str]:
    """The streams that a command most likely begins, so that their first record is among those it adds."""
    match command.payload:
        case tuple(reports):
            return [evidence.stream(report) for report in reports if isinstance(report, RawReportKept)]
        case SubmitOrder(key=key):
            return [order.stream(key)]
        case _:
            return []


def is_of(event: PositionEvent, report: Transfer | SettleFunding) -> bool:
    """Whether an event books this report, or keeps it as a break."""
    if event.key != report.key or _report_id(event) != _report_id(report):
        return False
    match event, report:
        case PositionBroken(report=Transfer() as kept), Transfer():
            return replace(kept, contract=report.contract) == report
        case PositionBroken(), _:
            return event.report == report
        case FundingSettled(amount=amount), SettleFunding():
            return amount == report.amount
        case PositionTransferred(), Transfer():
            if event.is_at_cost and report.is_at_cost:
                return (event.side, event.quantity) == (report.side, report.quantity)
            booked = (event.side, event.quantity, event.cost)
            return booked == (report.side, report.quantity, report.cost)
        case _:
            return False


def _report_id(item: PositionEvent | Transfer | SettleFunding) -> str:
    """The id of the transfer or funding payment of a report or event; "" for others."""
    match item:
        case Transfer(transfer_id=transfer_id) | PositionTransferred(transfer_id=transfer_id):
            return f"transfer {transfer_id}"
        case SettleFunding(funding_id=funding_id) | FundingSettled(funding_id=funding_id):
            return f"funding {funding_id}"
        case PositionBroken(report=(Transfer() | SettleFunding()) as contradicted):
            return _report_id(contradicted)
        case _:
            return ""
