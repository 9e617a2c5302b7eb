"""Which read model takes which event: none is forgotten, and none that is new goes by unseen.

An event that is in no row here has not been thought about, and the test says so.
"""

from domain.ledger import schema
from projections.catalog import PROJECTIONS
from projections.models import log_index

TAKEN = {
    # instruments: facts travel with what was booked by them
    "InstrumentListed": "references",
    "InstrumentAmended": "references",
    "InstrumentDelisted": "",
    "InstrumentRedenominated": "",
    # accounts: conventions travel with what was booked by them; balances and journal need an account's venue
    "AccountOpened": "balances journal references coins",
    "AccountClosed": "",
    "PositionOpened": "",
    "TransferPending": "balances",
    "TransferSettled": "balances journal capital coins",
    "TransferReturned": "balances journal capital coins",
    "FeeCharged": "balances journal capital coins",
    "EntryBooked": "balances journal capital coins",
    "AccountBroken": "breaks",
    "BreakOpened": "breaks",
    "BreakChanged": "breaks",
    "BreakAged": "breaks",
    "BreakResolved": "breaks",
    "StatementTaken": "",
    # orders
    "OrderSubmitted": "orders",
    "OrderRefused": "orders",
    "OrderAdopted": "orders",
    "OrderAliased": "",  # only leads to an order
    "VenueOrderLinked": "",  # likewise
    "OrderPendingNew": "orders",
    "OrderAccepted": "orders",
    "OrderRejected": "orders",
    "OrderTriggered": "orders",
    "OrderFilled": "orders",  # its booking is TradeBooked
    "OrderFillBusted": "orders",  # likewise TradeReversed
    "OrderCommissionReported": "orders",  # it waits for its fill
    "OrderFillCompleted": "orders",  # a booking follows where it changes one
    "OrderFillCorrected": "orders",  # likewise both
    "OrderCancelRequested": "orders",
    "OrderPendingCancel": "orders",
    "OrderCancelRejected": "orders",
    "OrderCanceled": "orders",
    "OrderExpired": "orders",
    "OrderReplaceRequested": "orders",
    "OrderPendingReplace": "orders",
    "OrderReplaceRejected": "orders",
    "OrderReplaced": "orders",
    "OrderRestated": "orders",
    "OrderDoneForDay": "orders",
    "OrderSuspended": "orders",
    "OrderCalculated": "orders",
    "OrderBroken": "orders breaks",
    "OrderBreakWithdrawn": "orders breaks",
    "ParentOpened": "",  # a child's row names its parent
    "ChildProgressed": "",
    "ParentClosed": "",
    # positions
    "TradeBooked": "executions positions lots balances journal daily",
    "TradeReversed": "executions positions lots balances journal daily",
    "PositionTransferred": "executions positions lots balances journal daily capital",
    "FundingSettled": "positions balances journal daily coins",
    "ContractDelivered": "",  # the trades beside it are booked
    "LotsAssigned": "executions",  # what it moves is in the PositionRestated behind it
    "PositionRestated": "executions positions lots balances journal daily",
    "PositionBroken": "breaks",
    # limits
    "LimitSet": "limits shadow_limits",
    "SwitchEngaged": "limits",
    "SwitchReleased": "limits",
    "TradingDaySet": "",  # days are of loss limits, which only an assessment measures
    "ConversionSet": "references",
    "CapitalStated": "",  # what it changes of limits is measured when they are shown
    "DayOpened": "",
    "EquityAssessed": "",
    "LimitBreached": "limits",
    "BreachCleared": "limits",
    "AssessmentMissed": "limits",
    "AssessmentResumed": "limits",
    "ShadowDecided": "shadow_limits",
    "DeadManSwitchArmed": "",  # the switches are read from the log itself
    "DeadManSwitchDisarmed": "",
    "DeadManSwitchFired": "",  # what follows are requests of their own
    "HoldPlaced": "limits",
    "HoldRefused": "",  # nothing is held; the order says why
    "HoldAdjusted": "limits",
    "HoldPosted": "limits",
    "GainsPosted": "",  # moves money, no quantity
    "HoldVoided": "limits",
    "HoldExpired": "limits",
    "AccountRegistered": "",
    "FirmWatchStarted": "",
    "FirmWatchEnded": "",
    "UsageCarried": "",  # the firm's usage is that of all accounts, each in its own stream
    "FirmUsageChanged": "",  # likewise
    # evidence
    "RawReportKept": "breaks",
    "ClockConfirmed": "",  # which part of the log a moment leads to is looked up in the log
    # access: read from the log itself
    "KeyIssued": "",
    "KeyRegistered": "",
    "KeyRescoped": "",
    "KeyBounded": "",
    "KeyRotated": "",
    "KeyRevoked": "",
    "ApprovalPolicySet": "",
    "ActionProposed": "",
    "ProposalApproved": "",
    "ProposalRejected": "",
    "ProposalExpired": "",
    "SigningKeyStarted": "",
    "SigningKeyHandedOver": "",
    "SigningKeyLost": "",
    "PolicySet": "",  # read by process managers
    "FiguresClosed": "",  # commits to figures of read models, and changes none
    "MarksRecorded": "",  # marks are looked up in the mark store, which the event makes them visible in
    "SubjectForgotten": "",  # no read model has what is personal
}


def test_every_event_is_folded_or_knowingly_ignored() -> None:
    takers = {
        event_class.__name__: {one.name for one in PROJECTIONS if event_class in one.folds and one.name != "log"}
        for event_class in schema.NEWEST
    }
    assert {name: set(names.split()) for name, names in TAKEN.items()} == takers


def test_the_index_of_the_log_takes_every_event() -> None:
    assert set(log_index.PROJECTION.folds) == set(schema.NEWEST)


def test_no_projection_waits_for_an_event_that_is_never_read() -> None:
    """A shape that is older than the newest is read as the newest."""
    assert {event_class for projection in PROJECTIONS for event_class in projection.folds} <= set(schema.NEWEST)
